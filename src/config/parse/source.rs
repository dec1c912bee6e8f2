//! `[sources.*]`

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::SignedDuration;

use super::super::endpoint::Endpoint;
use super::super::model::{Credentials, Source, TokenUser};
use super::super::raw::{RawCredentials, RawSource, RawWorkspace};
use super::super::secret::Secrets;
use super::super::secret_shape::Shape;
use super::super::setting::{Setting, UrlText};
use super::super::text::{BadText, Region};
use super::super::tree::Report;
use super::super::units::{ByteSize, LONGEST_DURATION};
use super::{ak_sk, duration, least_rate, readable, secret};
use crate::domain::export::{ApiChoice, PastHorizon};

/// How long the provider keeps records, as it documents it.
const PROVIDER_KEEPS: SignedDuration = SignedDuration::from_hours(30 * 24);

const DEFAULT_RATE: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");

pub(super) fn source(raw: RawSource, secrets: Secrets, report: &mut Report) -> Option<Source> {
    match raw {
        RawSource::Workspace(raw) => workspace(*raw, secrets, report),
        RawSource::Unknown => None,
    }
}

fn workspace(raw: RawWorkspace, secrets: Secrets, report: &mut Report) -> Option<Source> {
    let region = raw
        .region
        .map(region, report)
        .required("the region is a part of what a stream is, even with an endpoint given", report);
    let endpoint = raw.endpoint.map(|UrlText(text)| text.parse(), report).optional();
    let project_id = raw.project_id.map(|text| text.parse(), report).optional();
    let iam_endpoint = raw.iam_endpoint.map(|UrlText(text)| text.parse(), report).optional();
    let words = [ApiChoice::Auto, ApiChoice::V2, ApiChoice::V3].map(|choice| (choice.as_str(), choice));
    let api = raw.api.one_of(words, report).or(ApiChoice::Auto);
    let words = [PastHorizon::Try, PastHorizon::Lose].map(|choice| (choice.as_str(), choice));
    let past_horizon = raw.past_horizon.one_of(words, report).or(PastHorizon::Try);
    // An attempt that takes half a day is broken off: by then a task must be given up, and another one made.
    let task_range = (SignedDuration::from_secs(1), SignedDuration::from_hours(6));
    let task_timeout = duration(raw.task_timeout, task_range, "must be from 1s to 6h", report);
    let task_timeout = task_timeout.or(SignedDuration::from_mins(30));
    let requests_per_second = raw.requests_per_second.map(rate, report).or(DEFAULT_RATE);
    let range = (SignedDuration::from_secs(1), LONGEST_DURATION);
    let horizon = duration(raw.horizon, range, "must be more than 0s", report).or(PROVIDER_KEEPS);
    let ca_file = raw.ca_file.map(readable(secrets), report).optional();
    let connect_timeout = timeout(raw.connect_timeout, 10, report);
    let first_byte_timeout = timeout(raw.first_byte_timeout, 120, report);
    let stall_timeout = timeout(raw.stall_timeout, 60, report);
    let least_rate = least_rate(raw.least_rate, report);
    let max_body = raw.max_body.map(max_body, report).or(ByteSize::SINGLE_PUT);
    let credentials = credentials_of(raw.credentials, secrets, report);
    let (region, endpoint_of_region, iam_of_region) = region?;
    Some(Source {
        region,
        endpoint: endpoint?.unwrap_or(endpoint_of_region),
        project_id: project_id?,
        iam_endpoint: iam_endpoint?.unwrap_or(iam_of_region),
        api: api?,
        requests_per_second: requests_per_second?,
        horizon: horizon?,
        past_horizon: past_horizon?,
        task_timeout: task_timeout?.unsigned_abs(),
        ca_file: ca_file?,
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        stall_timeout: stall_timeout?,
        least_rate: least_rate?,
        max_body: max_body?,
        credentials: credentials?,
    })
}

/// A region, and where Workspace and the identity service are in it. A well-formed name can still be no part of a host's name (`xn--a`).
fn region(text: String) -> Result<(Region, Endpoint, Endpoint), String> {
    let region: Region = text.parse().map_err(|error: BadText| error.to_string())?;
    let of = |service: &str, domain| format!("https://{service}.{region}.myhuaweicloud.{domain}").parse();
    // The European site has its identity service under a domain of its own.
    let iam = if region.as_str() == "eu-west-101" { "eu" } else { "com" };
    match (of("workspace", "com"), of("iam", iam)) {
        (Ok(workspace), Ok(iam)) => Ok((region, workspace, iam)),
        _ => Err("must be a region's name that can stand in a host's name".to_owned()),
    }
}

fn credentials_of(raw: RawCredentials, secrets: Secrets, report: &mut Report) -> Option<Credentials> {
    match raw {
        RawCredentials::AkSk(raw) => {
            let keys = (raw.access_key_file, raw.secret_key_file);
            ak_sk(keys, raw.security_token_file, secrets, report).map(Credentials::AkSk)
        }
        RawCredentials::Token(raw) => {
            let missing = "name the account that the user belongs to";
            let domain = raw.domain.map(not_empty, report).required(missing, report);
            let user = raw.user.map(not_empty, report).required("name the user", report);
            let password = secret(raw.password_file, (Shape::Line, secrets), report)
                .required("name the file with the user's password", report);
            Some(Credentials::Token(TokenUser { domain: domain?, user: user?, password: password? }))
        }
        RawCredentials::EcsAgency(raw) => {
            let endpoint = raw.metadata_endpoint.map(|UrlText(text)| text.parse(), report).optional()?;
            let endpoint = match endpoint {
                Some(endpoint) => endpoint,
                None => "http://169.254.169.254".parse().ok()?,
            };
            Some(Credentials::EcsAgency(endpoint))
        }
        RawCredentials::Unknown => None,
    }
}

fn not_empty(text: String) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must not be empty") } else { Ok(text) }
}

fn rate(number: i64) -> Result<NonZeroU32, &'static str> {
    let in_range = u32::try_from(number).ok().filter(|number| *number <= 1000);
    in_range.and_then(NonZeroU32::new).ok_or("must be a whole number from 1 to 1000")
}

fn timeout(setting: Setting<String>, default_seconds: i64, report: &mut Report) -> Option<Duration> {
    let range = (SignedDuration::from_secs(1), SignedDuration::from_hours(1));
    let setting = duration(setting, range, "must be from 1s to 1h", report);
    Some(setting.or(SignedDuration::from_secs(default_seconds))?.unsigned_abs())
}

fn max_body(text: String) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: super::super::units::BadSize| error.to_string())?;
    let in_range = size.bytes() > 0 && size <= ByteSize::SINGLE_PUT;
    if in_range {
        Ok(size)
    } else {
        Err("must be from 1B to 5GiB, which is what a single put takes".to_owned())
    }
}
