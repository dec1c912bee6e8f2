//! What every ledger must do, whatever it is made of: one suite over `dyn Ledger`, run for each adapter.
//!
//! Another adapter joins by implementing [`Adapter`] and one more line of `conformance!`.

mod chain;
mod content;
mod crashes;
mod failures;
mod following;
mod leases;
mod rebuilding;
mod revisits;
mod sqlite;

use std::sync::Arc;

use connvault::domain::name::StreamName;
use connvault::domain::snapshot::{Snapshot, WindowState};
use connvault::domain::window::Window;
use connvault::ports::ledger::{Lease, LeaseOutcome, Ledger, Purpose};
use jiff::{SignedDuration, Timestamp};

/// A ledger of a test's own.
trait Adapter: Sized {
    /// A new one that knows nothing.
    async fn open() -> Self;
    fn ledger(&self) -> Arc<dyn Ledger>;
    /// Closes it and opens it again.
    async fn reopen(self) -> Self;
}

macro_rules! conformance {
    ($adapter:ident: $($module:ident::$case:ident,)*) => {
        mod conformance {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$module::$case::<super::$adapter>().await;
                }
            )*
        }
    };
}

use sqlite::Sqlite;

conformance! { Sqlite:
    following::what_was_applied_is_passed_over,
    following::an_entry_that_does_not_follow_is_refused,
    following::a_batch_with_a_gap_changes_nothing,
    following::an_entry_settles_whatever_the_ledger_thought,
    following::an_archived_window_is_never_lost_again,
    following::a_later_revision_takes_the_place_of_the_first,
    following::orphans_are_named_objects,
    following::a_stream_can_be_opened_again_with_an_earlier_start,
    following::the_fingerprints_of_the_last_run_are_kept,
    following::a_snapshot_is_of_one_instant,
    following::everything_is_kept_when_it_is_closed,
    content::an_unread_window_is_known_as_such_until_its_bytes_are_read_or_a_revision_is,
    content::other_windows_with_the_same_records_are_found_newest_first,
    content::an_unread_window_that_is_asked_for_is_due_until_its_export_has_come,
    leases::a_window_has_one_holder,
    leases::of_many_who_ask_at_once_one_gets_the_lease,
    leases::a_lease_that_ran_out_is_taken_over_with_a_higher_generation,
    leases::a_stale_holder_is_refused_and_changes_nothing,
    leases::a_lease_that_was_given_back_is_stale,
    leases::a_commit_settles_the_window_and_gives_the_lease_back,
    leases::a_commit_that_does_not_follow_changes_nothing,
    leases::an_archived_window_is_not_leased,
    leases::a_window_whose_loss_is_not_believed_is_open_again_when_it_is_leased,
    leases::voided_leases_are_stale_and_their_attempts_interrupted,
    crashes::an_attempt_that_ended_with_the_process_is_counted_and_any_other_end_forgets_it,
    crashes::an_interruption_and_an_end_that_was_announced_count_nothing,
    crashes::an_entry_that_archives_the_window_forgets_it,
    crashes::a_window_is_parked_while_it_is_open_and_nobody_holds_it,
    crashes::retry_forgets_ends_of_the_process,
    failures::a_failure_is_charged_and_the_window_waits,
    failures::a_corrupt_export_is_counted_apart,
    failures::a_parked_window_that_is_leased_is_open_again,
    failures::a_failure_that_is_not_charged_leaves_the_window_as_it_was,
    failures::a_lost_window_can_be_tried_and_stays_lost,
    failures::retry_makes_due_what_is_asked_for_and_nothing_else,
    failures::a_hold_is_put_replaced_and_lifted,
    failures::a_hold_out_of_reach_is_lifted_like_one_that_is_over,
    following::the_date_of_the_last_entry_and_the_confirmed_time_are_kept,
    following::an_acknowledgement_is_kept_with_the_entry_that_it_names_and_ends_the_request,
    failures::every_attempt_is_kept_with_how_it_ended,
    failures::old_attempts_that_have_ended_are_forgotten,
    rebuilding::a_window_that_the_log_says_is_parked_is_and_what_settles_it_is_the_last_word,
    rebuilding::what_this_machine_found_out_counts_more_than_what_it_reads_of_a_parked_window,
    rebuilding::entries_that_do_not_follow_one_another_are_taken_over_where_that_is_asked_for,
    rebuilding::a_damaged_entry_that_is_passed_over_keeps_its_place_and_says_nothing,
    rebuilding::a_stream_is_signed_once_an_entry_names_a_key_or_a_daemon_says_so,
    rebuilding::a_rebuilt_ledger_takes_what_was_due_before_the_last_entry_as_done,
    revisits::an_archived_window_is_leased_to_be_pulled_again_and_stays_archived,
    revisits::a_revisit_that_found_nothing_new_is_remembered,
    revisits::a_revision_ends_the_revisit_and_says_when_it_was_pulled,
    revisits::a_pull_is_never_forgotten_for_an_earlier_one,
    revisits::a_revisit_that_fails_pauses_and_the_window_stays_archived,
    revisits::a_revisit_that_was_broken_off_is_due_again,
    revisits::a_stale_holder_does_not_end_a_revisit,
}

fn stream() -> StreamName {
    "logins".parse().unwrap()
}

/// Day `number` of November 2026.
fn day(number: i32) -> Window {
    let first: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let start = first + SignedDuration::from_hours(24) * (number - 1);
    Window::new(start, start + SignedDuration::from_hours(24)).unwrap()
}

/// So many minutes after some instant.
fn minute(number: i64) -> Timestamp {
    "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(number)
}

/// The lease of `window` from minute `from` to minute `to`, which must be to be had.
async fn leased(ledger: &dyn Ledger, window: Window, holder: &str, from: i64, to: i64) -> Lease {
    leased_for(Purpose::Settle, ledger, window, holder, (from, to)).await
}

/// As [`leased`], for any purpose.
async fn leased_for(
    purpose: Purpose,
    ledger: &dyn Ledger,
    window: Window,
    holder: &str,
    (from, to): (i64, i64),
) -> Lease {
    match ledger.lease(&stream(), window, purpose, holder, minute(from), minute(to)).await.unwrap() {
        LeaseOutcome::Leased(lease) => lease,
        other => panic!("{holder}: {other:?}"),
    }
}

/// What a snapshot says of a window.
fn state(snapshot: &Snapshot, window: Window) -> Option<&WindowState> {
    snapshot.windows.get(&stream())?.get(&window)
}

/// What is known of a window.
async fn state_of(ledger: &dyn Ledger, window: Window) -> Option<WindowState> {
    state(&ledger.snapshot().await.unwrap(), window).cloned()
}
