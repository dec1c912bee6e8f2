//! The export of a window: asked of the source, downloaded into the spool, taken in.

use super::counting::{Terms, count};
use super::intake::Intake;
use super::{Attempt, Job};
use crate::adapters::spool::SpooledExport;
use crate::app::observer::Ending;
use crate::domain::failure::{Failure, FailureKind};
use crate::ports::checkpoint::Step;
use crate::ports::record_source::ExportRequest;

impl Attempt<'_> {
    /// Exports the window, unless an earlier run has, and commits the export.
    pub(super) async fn archive(&self) -> Result<Ending, Failure> {
        let Job { services, stream, window } = self.job;
        let found = services.spool.find(stream.name(), window, stream.definition_digest).await?;
        let export = match found {
            Some(export) => {
                tracing::info!(stream = %stream.name(), window = %window, "export of an earlier run found in the spool");
                export
            }
            None => {
                let (request, now) = (self.job.request(), services.clock.now());
                let in_time =
                    request.expires_at <= now && stream.source.remains(&request).await?.is_in_time(&request);
                self.job.export(&request, Terms::of_pull(stream, &request, in_time, now)).await?
            }
        };
        self.commit(&export, None).await
    }
}

impl Job<'_> {
    /// Exports the window into the spool and looks into the export.
    pub(super) async fn export(
        self,
        request: &ExportRequest,
        terms: Terms,
    ) -> Result<SpooledExport, Failure> {
        let Self { services, stream, .. } = self;
        let before = count(stream, request, terms).await?;
        let mut writer = services.spool.begin(stream.name(), request.window).await?;
        services.checkpoint.reached(Step::PullStarted);
        let receipt = stream.source.export(request, &mut writer).await?;
        let bytes = writer.finish_bytes().await?;
        services.exports.came(&stream.rules.source, services.clock.now());
        let intake = Intake { job: self, request, terms };
        let taken = intake.take(bytes, receipt, before).await;
        let is_refused =
            |failure: &Failure| matches!(failure.kind, FailureKind::Corrupt | FailureKind::Unread);
        if taken.as_ref().is_err_and(is_refused) {
            stream.source.discard(request).await?;
        }
        taken
    }
}
