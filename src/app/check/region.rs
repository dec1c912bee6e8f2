//! Whether an endpoint is in the region that it is asked for: requests are signed for the region, and refused elsewhere.

use url::Url;

use super::Checks;

const REGION: &str = "region";

/// Of `region`, where `endpoint` is given.
pub(super) fn check(region: &str, endpoint: Option<&Url>, checks: &mut Checks) {
    match endpoint.and_then(|endpoint| elsewhere(region, endpoint)) {
        None => checks.ok(REGION, region),
        Some((host, other)) => checks.failed(
            REGION,
            format!("{region}, and the endpoint {host} is in {other}"),
            &format!("set region = {other:?}, or name the endpoint of {region}"),
        ),
    }
}

/// The clouds that name their regions in their hosts' names. Other hosts may be called like a region, and mean nothing by it.
const CLOUDS: [&str; 4] = ["myhuaweicloud.com", "myhuaweicloud.eu", "amazonaws.com", "amazonaws.com.cn"];

/// The endpoint's host, and the region in its name, where that is another one.
fn elsewhere<'u>(region: &str, endpoint: &'u Url) -> Option<(&'u str, &'u str)> {
    let host = endpoint.host_str()?.trim_end_matches('.');
    let own = CLOUDS.iter().find_map(|cloud| host.strip_suffix(cloud)?.strip_suffix('.'))?;
    let mut named = own.split('.').filter(|label| is_region(label)).peekable();
    let other = *named.peek()?;
    (!named.any(|label| label == region)).then_some((host, other))
}

/// Whether a part of a host's name is a region's: `ap-southeast-3`, `eu-west-101`.
fn is_region(label: &str) -> bool {
    let parts: Vec<_> = label.split('-').collect();
    let [place, words @ .., number] = parts.as_slice() else { return false };
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    place.len() == 2 && is_word(place) && !words.is_empty() && words.iter().all(is_word) && is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_in_a_hosts_name_must_be_the_one_that_is_asked_for() {
        for (region, endpoint, other) in [
            ("ap-southeast-3", "https://workspace.ap-southeast-3.myhuaweicloud.com", None),
            ("ap-southeast-1", "https://obs.ap-southeast-3.myhuaweicloud.com", Some("ap-southeast-3")),
            ("eu-west-101", "https://obs.eu-west-101.myhuaweicloud.eu", None),
            ("cn-north-4", "https://s3.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("us-gov-west-1", "https://s3.us-gov-west-1.amazonaws.com", None),
            ("sim", "http://127.0.0.1:9000", None),
            ("us-east-1", "https://minio-2.corp.example", None),
            ("us-east-1", "https://iam.myhuaweicloud.com", None),
            ("us-east-1", "https://my-minio-1.localhost.invalid", None),
            ("us-east-1", "https://db-node-1.example", None),
            ("us-east-1", "https://nl-storage-1:9000", None),
            ("us-east-1", "https://s3.eu-west-1.amazonaws.com.example", None),
            ("us-east-1", "https://ap-southeast-3.notmyhuaweicloud.com", None),
            ("cn-north-1", "https://s3.cn-northwest-1.amazonaws.com.cn", Some("cn-northwest-1")),
            ("eu-west-101", "https://obs.eu-west-102.myhuaweicloud.eu.", Some("eu-west-102")),
        ] {
            let endpoint = endpoint.parse().unwrap();
            assert_eq!(elsewhere(region, &endpoint).map(|(_, other)| other), other, "{region} {endpoint}");
        }
    }
}
