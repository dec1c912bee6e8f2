//! `[streams.*]`

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use super::super::error::ProblemKind;
use super::super::model::{Source, Stream};
use super::super::nearest::nearest;
use super::super::raw::{RawFilters, RawStream};
use super::super::setting::{TextList, TextOrNumber};
use super::super::tree::Report;
use super::super::units::{DURATION_FORM, LONGEST_DURATION, parse_duration};
use super::duration;
use super::zone::time_zone;
use crate::domain::calendar::Calendar;
use crate::domain::count::OnCountMismatch;
use crate::domain::duration::spelled;
use crate::domain::export::{Filters, Language};
use crate::domain::name::SourceName;
use crate::domain::window_length::WindowLength;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a stream may refer to, right or wrong in itself: a source with a problem is not also a missing one.
pub(super) struct Names {
    pub sources: BTreeSet<String>,
    pub stores: BTreeSet<String>,
}

pub(super) fn stream(
    raw: RawStream,
    names: &Names,
    sources: &BTreeMap<SourceName, Source>,
    report: &mut Report,
) -> Option<Stream> {
    let source = raw.source.map(|name| existing(&name, "source", &names.sources), report);
    let source = source.required("name one of the sources", report);
    let store = raw.store.map(|name| existing(&name, "store", &names.stores), report);
    let store = store.required("name one of the stores", report);
    let window =
        raw.window.map(window_length, report).required("say how long a window is, such as \"1d\"", report);
    let timezone = raw.timezone.map(|name| time_zone(&name), report);
    let timezone =
        timezone.required("name the time zone whose calendar cuts the windows, such as \"UTC\"", report);
    // Without its time zone, a start can be neither right nor wrong.
    let start_key = raw.start.key().clone();
    let start = match &timezone {
        Some(timezone) => raw.start.map(|text| instant(&text, timezone), report),
        None => raw.start.map(|_| Ok::<_, String>(Timestamp::UNIX_EPOCH), report),
    };
    let accept_lost_before = match &timezone {
        Some(timezone) => raw.accept_lost_before.map(|text| instant(&text, timezone), report),
        None => raw.accept_lost_before.map(|_| Ok::<_, String>(Timestamp::UNIX_EPOCH), report),
    };
    let start = start.required("say where the first window starts, such as \"2026-11-01\"", report);
    let settle =
        duration(raw.settle, (SignedDuration::ZERO, LONGEST_DURATION), "must not be negative", report);
    let range = (SignedDuration::ZERO, DAY - SignedDuration::from_secs(1));
    let margin = duration(raw.margin, range, "must be less than a day", report);
    let revisit_key = raw.revisit.key().clone();
    let by_default = !raw.revisit.is_set();
    let revisit = raw.revisit.map(revisits, report);
    let range = (SignedDuration::from_secs(1), LONGEST_DURATION);
    let deadline = duration(raw.deadline, range, "must be more than 0s", report);
    let policies = [
        ("park", OnCountMismatch::Park),
        ("flag", OnCountMismatch::Flag),
        ("ignore", OnCountMismatch::Ignore),
    ];
    let on_count_mismatch = raw.on_count_mismatch.one_of(policies, report);
    let filters = filters(raw.filters, report);

    let settle_key = settle.key().clone();
    let deadline_key = deadline.key().clone();
    let mut stream = Stream {
        source: source?,
        store: store?,
        window: window?,
        timezone: timezone?,
        start: start?,
        accept_lost_before: accept_lost_before.optional()?,
        settle: settle.or(2 * HOUR)?,
        margin: margin.or(SignedDuration::from_mins(1))?,
        revisit: revisit.or(REVISIT.map(SignedDuration::from_hours).to_vec())?,
        deadline: deadline.or(12 * HOUR)?,
        on_count_mismatch: on_count_mismatch.or(OnCountMismatch::default())?,
        filters: filters?,
    };
    if let Err(why) = on_boundary(&stream) {
        report.add(&start_key, Some(format!("{:?}", stream.start.to_string())), ProblemKind::BadValue(why));
        return None;
    }
    let Some(source) = sources.get(&stream.source) else { return Some(stream) };
    if by_default {
        stream.revisit = possible_revisits(&stream, source.horizon);
    }
    let (first_pull, again) = (in_time(&stream, source.horizon), revisits_in_time(&stream, source.horizon));
    if let Err((of, why)) = &first_pull {
        let (key, value) = match of {
            Late::Pull => (&settle_key, stream.settle),
            Late::Alarm => (&deadline_key, stream.deadline),
        };
        report.add(key, Some(format!("{:?}", spelled(value))), ProblemKind::BadValue(why.clone()));
    }
    if let Err(why) = &again {
        let shown: Vec<_> = stream.revisit.iter().map(|after| spelled(*after)).collect();
        report.add(&revisit_key, Some(format!("{shown:?}")), ProblemKind::BadValue(why.clone()));
    }
    (first_pull.is_ok() && again.is_ok()).then_some(stream)
}

/// Hours after its end at which a window is pulled again by default. After three days most sessions that were still open have
/// their end; after 25 days nearly all have, and a failing source still has some days to recover before the records are gone.
const REVISIT: [i64; 2] = [3 * 24, 25 * 24];

/// The default revisits that come after the first pull and before the source forgets the window.
fn possible_revisits(stream: &Stream, horizon: SignedDuration) -> Vec<SignedDuration> {
    let is_possible = |after: &SignedDuration| {
        let alone = Stream { revisit: vec![*after], ..stream.clone() };
        revisits_in_time(&alone, horizon).is_ok()
    };
    stream.revisit.iter().copied().filter(is_possible).collect()
}

/// How long after its end a window is pulled again, from short to long.
fn revisits(TextList(texts): TextList) -> Result<Vec<SignedDuration>, String> {
    let rule = || format!("each {DURATION_FORM}, and more than 0s");
    let after = texts.iter().map(|text| parse_duration(text).filter(SignedDuration::is_positive));
    let after: Vec<_> = after.collect::<Option<_>>().ok_or_else(rule)?;
    if after.is_sorted_by(|one, next| one < next) {
        Ok(after)
    } else {
        Err("must go from short to long, none of them twice".to_owned())
    }
}

/// Whether a window begins at `start`: the first window must not be a stump.
fn on_boundary(stream: &Stream) -> Result<(), String> {
    let calendar = Calendar::new(stream.timezone.clone(), stream.window);
    let Some(window) = calendar.window_at(stream.start) else {
        return Err("is too far from now".to_owned());
    };
    if window.start() == stream.start {
        return Ok(());
    }
    let (before, after) = (window.start(), window.end());
    Err(format!("must be where a window begins, such as \"{before}\" or \"{after}\""))
}

fn existing<N: FromStr<Err: ToString>>(
    name: &str,
    what: &str,
    names: &BTreeSet<String>,
) -> Result<N, String> {
    if names.contains(name) {
        return name.parse().map_err(|error: N::Err| error.to_string());
    }
    Err(match nearest(name, names.iter().map(String::as_str)) {
        Some(nearest) => format!("there is no such {what}; did you mean {nearest:?}?"),
        None => format!("there is no such {what}; add a section [{what}s.…] or name one that there is"),
    })
}

fn window_length(given: TextOrNumber) -> Result<WindowLength, String> {
    let length = match given {
        TextOrNumber::Text(text) => text.parse().ok(),
        TextOrNumber::Number(minutes) => {
            u16::try_from(minutes).ok().and_then(|m| WindowLength::minutes(m).ok())
        }
    };
    let rule = "must be \"1d\", or a number of minutes that divides a day, such as \"1h\", \"15m\" or 15";
    length.ok_or_else(|| rule.to_owned())
}

/// A day or a local time in the stream's time zone, or an instant with an offset.
fn instant(text: &str, timezone: &TimeZone) -> Result<Timestamp, String> {
    let rule = "must be a day such as \"2026-11-01\", a local time such as \"2026-11-01T06:00\", or an instant such as \
                \"2026-11-01T00:00:00Z\"";
    // A name of a zone would be read and not be obeyed.
    if text.contains('[') {
        return Err(rule.to_owned());
    }
    let instant = if let Ok(instant) = text.parse::<Timestamp>() {
        instant
    } else if let Ok(day) = text.parse::<civil::Date>()
        && !text.contains([':', 'T', 't', ' '])
    {
        // Where clocks are put forward at midnight, the day begins later.
        let midnight = day.to_datetime(civil::Time::midnight());
        timezone.to_ambiguous_timestamp(midnight).compatible().map_err(|_| rule.to_owned())?
    } else {
        let local: civil::DateTime = text.parse().map_err(|_| rule.to_owned())?;
        timezone.to_ambiguous_timestamp(local).unambiguous().map_err(|_| {
            "is skipped or occurs twice in the stream's time zone, as clocks are put forward or back; write it with \
             its offset, such as \"2026-11-01T06:00:00+08:00\""
                .to_owned()
        })?
    };
    let is_minute = instant.as_second().rem_euclid(60) == 0 && instant.subsec_nanosecond() == 0;
    if is_minute {
        Ok(instant)
    } else {
        Err("must be a whole minute, as windows are cut at minutes".to_owned())
    }
}

fn filters(raw: RawFilters, report: &mut Report) -> Option<Filters> {
    let user_name = raw.user_name.or(String::new());
    let computer_name = raw.computer_name.or(String::new());
    let terminal_type = raw.terminal_type.or(String::new());
    let languages = [Language::EnUs, Language::ZhCn].map(|language| (language.as_str(), language));
    let language = raw.language.one_of(languages, report).or(Language::default());
    Some(Filters {
        user_name: user_name?,
        computer_name: computer_name?,
        terminal_type: terminal_type?,
        language: language?,
    })
}

/// Whether windows can be pulled, and an alarm be heard, well before the source forgets them.
///
/// What comes too late.
enum Late {
    /// The first pull.
    Pull,
    /// The alarm that a window is not archived.
    Alarm,
}

/// Records are as old as window and margin when the end of the window is over. It is due `settle` after that, though not before
/// what is asked for is over as well. Of the horizon, a quarter must be left for trying; and the deadline must come before the
/// end.
fn in_time(stream: &Stream, horizon: SignedDuration) -> Result<(), (Late, String)> {
    let due = longest_window(stream) + widened_by(stream) + first_pull(stream);
    if due > horizon * 3 / 4 {
        let why = format!(
            "with window, settle and margin, records are {} old when they are pulled, too near to the source's horizon of {}: \
             they would be forgotten before there is time for it; use a shorter settle or margin (at most three quarters may \
             be used up)",
            spelled(due),
            spelled(horizon),
        );
        return Err((Late::Pull, why));
    }
    if due + stream.deadline >= horizon {
        let why = format!(
            "with window, settle, margin and deadline, records are {} old when the alarm comes, and the source's horizon is {}: \
             they would be forgotten by then; use a shorter deadline or settle",
            spelled(due + stream.deadline),
            spelled(horizon),
        );
        return Err((Late::Alarm, why));
    }
    Ok(())
}

/// Whether every revisit comes after the first pull and before the source forgets the window.
fn revisits_in_time(stream: &Stream, horizon: SignedDuration) -> Result<(), String> {
    let left = horizon - longest_window(stream) - widened_by(stream);
    if stream.revisit.iter().any(|after| *after <= first_pull(stream)) {
        return Err(format!(
            "must be more than {}: before that, by settle and margin, a window is not pulled at all",
            spelled(first_pull(stream)),
        ));
    }
    if stream.revisit.iter().any(|after| *after >= left) {
        return Err(format!(
            "cannot be reached: a window and its margin leave less than {} of the source's horizon of {} after the \
             window's end, and what is pulled later may lack records; use shorter ones",
            spelled(left.max(SignedDuration::ZERO)),
            spelled(horizon),
        ));
    }
    Ok(())
}

/// By how much more than the window is asked for: the margin, in whole minutes.
fn widened_by(stream: &Stream) -> SignedDuration {
    SignedDuration::from_mins((stream.margin.as_secs() + 59) / 60)
}

/// How long after its end a window is due: what is asked for is over a minute later by any clock (`StreamRules::due_at`).
fn first_pull(stream: &Stream) -> SignedDuration {
    stream.settle.max(widened_by(stream) + SignedDuration::from_mins(1))
}

fn longest_window(stream: &Stream) -> SignedDuration {
    match stream.window {
        WindowLength::Day => 25 * HOUR,
        WindowLength::Minutes(minutes) => SignedDuration::from_mins(minutes.get().into()),
    }
}
