//! Which export tasks at the provider's are to be cleared away: found at each look, from the ledger alone.
//!
//! A task is wanted while its window is not settled, or while somebody works on the window. Any other is finished: so it is
//! after a commit, after a crash at whatever step, and after a revisit. An intent without an id whose window nobody works on is
//! of a request that was cut off: it is told and forgotten. What was decided stands in the ledger before anything is started, so
//! that no pull goes on with a task that is about to be deleted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::domain::export_task::{ExportTask, TaskState};
use crate::domain::failure::Failure;
use crate::domain::name::{SourceName, StreamName};
use crate::domain::snapshot::{Snapshot, WindowState};
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::ports::source_memory::SourceMemory;

use super::failure_policy::of_ledger;

/// What is not cleared away by then never will be: its source is not configured any more, or never lets it be
/// deleted.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What is to be cleared away, by the source that it stands at.
pub type Untidy = BTreeMap<SourceName, Vec<ExportTask>>;

/// What is to be cleared away, now that `busy` windows are worked on.
///
/// # Errors
/// When this machine's ledger fails.
pub async fn untidy(
    memory: &dyn SourceMemory,
    rules: &[StreamRules],
    snapshot: &Snapshot,
    busy: &BTreeSet<(StreamName, Window)>,
    now: Timestamp,
) -> Result<Untidy, Failure> {
    let mut untidy = Untidy::new();
    let busy = |task: &ExportTask| busy.contains(&(task.pull.stream.clone(), task.pull.window));
    for mut task in memory.tasks().await.map_err(of_ledger)? {
        if task.asked_at.saturating_add(FORGOTTEN).is_ok_and(|then| then <= now) && !busy(&task) {
            memory.gone(task.number).await.map_err(of_ledger)?;
            continue;
        }
        let settled = is_settled(&task, rules, snapshot);
        task.state = match task.state {
            TaskState::Asked if !busy(&task) => TaskState::Asked,
            TaskState::Created(id) if settled && !busy(&task) => {
                memory.finished(task.number).await.map_err(of_ledger)?;
                TaskState::Finished(id)
            }
            TaskState::Asked | TaskState::Created(_) => continue,
            owed @ TaskState::Finished(_) => owed,
        };
        untidy.entry(task.pull.source.clone()).or_default().push(task);
    }
    Ok(untidy)
}

/// Whether nobody will want the task's file any more.
fn is_settled(task: &ExportTask, rules: &[StreamRules], snapshot: &Snapshot) -> bool {
    let is_of = |rules: &StreamRules| rules.name == task.pull.stream && rules.source == task.pull.source;
    let configured = rules.iter().any(is_of);
    let state = snapshot.windows.get(&task.pull.stream).and_then(|windows| windows.get(&task.pull.window));
    !configured || matches!(state, Some(WindowState::Archived { .. } | WindowState::Lost { .. }))
}
