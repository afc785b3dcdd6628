//! Small pieces of HTML that many pages show: icons, times, statuses. They hold only what the server chose.

use std::fmt;

use crate::domain::mail::Delivery;
use crate::domain::serving::{Level, Phase, Status};
use crate::domain::training::{Compute, JobStatus};
use crate::domain::{OrgRole, TeamRole, Time};

/// HTML that is written as it is. Nothing that a client sent may get into it.
pub struct Html(String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

/// How far the mail with a link has come. Empty if none was written.
pub fn mail(mail: &Delivery) -> &'static str {
    match mail {
        Delivery::NotConfigured => "",
        Delivery::Queued { problem: None } => "mail on its way",
        Delivery::Queued { problem: Some(_) } => "the mail server has refused it for now",
        Delivery::Sent => "mail sent",
        Delivery::Failed { .. } => "mail failed: resend it",
    }
}

/// A picture of the frame's set. Screen readers skip it.
pub fn icon(name: &'static str) -> Html {
    Html(format!("<svg class=\"icon\" aria-hidden=\"true\"><use href=\"#i-{name}\"/></svg>"))
}

/// A cell of a permission table.
pub fn tick(allowed: bool) -> Html {
    Html(match allowed {
        true => format!("{}<span class=\"said\">yes</span>", icon("check")).replace("\"icon\"", "\"icon yes\""),
        false => format!("{}<span class=\"said\">no</span>", icon("minus")),
    })
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How long ago something was, with the full time as its title.
pub fn when(now: &Time, time: &Time) -> Html {
    let (iso, ago) = (time.to_string(), ago(*now, *time));
    Html(format!("<time data-relative datetime=\"{iso}\" title=\"{}\">{ago}</time>", absolute(*time)))
}

/// A time in words, in UTC.
pub fn absolute(time: Time) -> String {
    let iso = time.to_string();
    let month = iso[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).copied().unwrap_or_default();
    format!("{} {month} {}, {} UTC", iso[8..10].trim_start_matches('0'), &iso[..4], &iso[11..16])
}

/// A month such as `2026-11` in words.
pub fn month(month: &str) -> String {
    let number = month.get(5..).and_then(|number| number.parse::<usize>().ok()).unwrap_or_default();
    let name = number.checked_sub(1).and_then(|at| MONTHS.get(at)).copied().unwrap_or_default();
    format!("{name} {}", month.get(..4).unwrap_or_default())
}

/// The time of day of a line of a log.
pub fn clock(time: &Time) -> Html {
    let iso = time.to_string();
    Html(format!("<time datetime=\"{iso}\" title=\"{}\">{}</time>", absolute(*time), &iso[11..23]))
}

/// The words that the script would also choose, so that the text does not change when it runs.
fn ago(now: Time, time: Time) -> String {
    const UNITS: [(&str, i64); 5] =
        [("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600), ("minute", 60)];
    let seconds = (time.0 - now.0) / 1000;
    let Some((unit, size)) = UNITS.into_iter().find(|(_, size)| seconds.abs() >= *size) else {
        return "just now".to_owned();
    };
    let count = (seconds / size).abs();
    match (unit, count, seconds < 0) {
        ("day", 1, true) => "yesterday".to_owned(),
        ("day", 1, false) => "tomorrow".to_owned(),
        ("month" | "year", 1, true) => format!("last {unit}"),
        ("month" | "year", 1, false) => format!("next {unit}"),
        (_, _, true) => format!("{} ago", plural(&count, unit)),
        (_, _, false) => format!("in {}", plural(&count, unit)),
    }
}

/// A count with its noun: `1 model`, `2 models`.
pub fn plural(count: &(impl fmt::Display + ?Sized), noun: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{} {noun}{ending}", grouped(&count))
}

/// A number of items with their noun.
pub fn count(count: usize, noun: &str) -> String {
    plural(&count, noun)
}

/// A number with a comma before each group of three digits.
pub fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// An amount of money.
pub fn usd(micro_usd: &i64) -> String {
    let cents = (micro_usd + 5000) / 10_000;
    format!("${}.{:02}", grouped(&(cents / 100).to_string()), cents % 100)
}

/// The first letters of a name.
pub fn initials(name: &str) -> String {
    let words = name.split_whitespace().filter_map(|word| word.chars().next());
    let letters: Vec<char> = words.collect();
    let chosen = match letters[..] {
        [] => vec!['?'],
        [only] => vec![only],
        [first, .., last] => vec![first, last],
    };
    chosen.into_iter().flat_map(char::to_uppercase).collect()
}

/// A level of a log, as pages write it.
pub const fn level(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warning => "warn",
        Level::Error => "error",
    }
}

/// A team role in the documents' words.
pub const fn team_role(role: TeamRole) -> &'static str {
    match role {
        TeamRole::Admin => "Team Admin",
        TeamRole::Member => "Team Member",
    }
}

/// An organization role in the documents' words.
pub const fn org_role(role: &OrgRole) -> &'static str {
    match role {
        OrgRole::Admin => "Admin",
        OrgRole::Member => "Member",
    }
}

/// A status as a word with a shape.
pub fn status(status: &Status) -> Html {
    status_of(*status)
}

/// A status that was computed, as a word with a shape.
pub fn status_of(status: Status) -> Html {
    let state = match status.phase() {
        Phase::Serving if status == Status::Unhealthy => "warn",
        Phase::Serving => "good",
        Phase::Starting => "busy",
        Phase::Asleep | Phase::Off => "idle",
        Phase::Failed => "bad",
    };
    state_of(state, status.as_str())
}

/// The status of a training job as a word with a shape.
pub fn job_status(status: &JobStatus) -> Html {
    let state = match status {
        JobStatus::Pending | JobStatus::Created | JobStatus::Queued => "wait",
        JobStatus::Deploying | JobStatus::Running => "busy",
        JobStatus::Completed => "good",
        JobStatus::Stopped => "idle",
        JobStatus::Failed | JobStatus::DeployFailed => "bad",
    };
    state_of(state, status.as_str().trim_start_matches("TRAINING_JOB_"))
}

/// The GPUs of a training job.
pub fn compute(compute: &Compute) -> String {
    match compute.gpu_type() {
        Some(gpu_type) => format!("{} × {}", compute.gpu_count(), gpu_type.as_str()),
        None => "CPU".to_owned(),
    }
}

/// A state in a fixed set of shapes (`good`, `busy`, `warn`, `bad`, `idle`), with its name in words.
pub fn state_of(state: &'static str, name: &'static str) -> Html {
    Html(format!("<span class=\"status\" data-state=\"{state}\">{}</span>", sentence_case(name)))
}

/// `SCALED_TO_ZERO` as "Scaled to zero".
pub fn sentence_case(name: &str) -> String {
    let words = name.replace('_', " ").to_lowercase();
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_with_the_full_time_beside() {
        let now = Time::parse("now", "2026-11-23T15:00:00Z").unwrap();
        for (seconds, words) in [
            (-30, "just now"),
            (-60, "1 minute ago"),
            (-2 * 3600, "2 hours ago"),
            (-86_400, "yesterday"),
            (5 * 86_400, "in 5 days"),
            (-40 * 86_400, "last month"),
        ] {
            assert_eq!(ago(now, now.plus_seconds(seconds)), words);
        }
        assert_eq!(absolute(now), "23 November 2026, 15:00 UTC");
    }

    #[test]
    fn numbers_and_names() {
        assert_eq!(usd(&1_234_567_890_000), "$1,234,567.89");
        assert_eq!(plural(&1, "model"), "1 model");
        assert_eq!(plural(&1200, "model"), "1,200 models");
        assert_eq!(initials("Tomás Herrera"), "TH");
        assert_eq!(initials(""), "?");
    }
}
