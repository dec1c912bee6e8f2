//! A dead man's switch somewhere else: a POST that says that all is well, with what is worth keeping there.
//!
//! The URL is a secret (whoever knows it can say that all is well), so it is in no message, and no redirect is followed.

use std::time::Duration;

use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use super::remote_text::cause;
use crate::domain::loopback::is_loopback;

/// For all of it: it must never hold anything up.
const LONGEST: Duration = Duration::from_secs(10);

/// Posts `body` as JSON. The client is made for it each time: there is a minute between two.
///
/// # Errors
/// What went wrong, without the URL.
pub async fn post(url: &SecretString, body: &impl Serialize) -> Result<(), String> {
    let url = Url::parse(url.expose_secret()).map_err(|error| error.to_string())?;
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("connvault/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .timeout(LONGEST);
    if is_loopback(&url) {
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| String::from(cause(&error)))?;
    let answer = client.post(url).json(body).send().await;
    let status = answer.map_err(|error| String::from(cause(&error)))?.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
}
