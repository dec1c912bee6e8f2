//! When a request may be sent: after its login and its turn, and in no pause.

use crate::adapters::least_rate::LeastRate;
use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::*;
use crate::adapters::system_clock::SystemClock;
use crate::ports::clock::NoAnswerWatch;

/// Has whoever asks wait until it is given out.
struct Token(Semaphore);

#[async_trait]
impl Credentials for Token {
    async fn current(&self) -> Result<Authority, CredentialsError> {
        self.0.acquire().await.unwrap().forget();
        Ok(Authority::Token("token".into()))
    }

    async fn refresh(&self, _refused: &Authority) -> Result<Authority, CredentialsError> {
        self.current().await
    }
}

/// A client that has one turn to give, and the token that it waits for.
fn client() -> (Client, Arc<Token>) {
    let long = Duration::from_secs(60);
    let settings = WorkspaceSettings {
        endpoint: Url::parse("http://127.0.0.1:9").unwrap(),
        project_id: "0123".into(),
        requests_per_second: 0.001,
        timeouts: Timeouts { connect: long, first_byte: long, stall: long, least_rate: LeastRate::default() },
        max_body: 1000,
        ca_pem: None,
    };
    let token = Arc::new(Token(Semaphore::new(0)));
    let credentials: Arc<dyn Credentials> = Arc::clone(&token) as _;
    (Client::new(&settings, credentials, Arc::new(SystemClock), Arc::new(NoAnswerWatch)).unwrap(), token)
}

#[tokio::test]
async fn whoever_waits_for_a_login_has_no_turn_yet() {
    let (client, token) = client();
    let refused = Pass(Authority::Token("old".into()));
    let unauthorized = Trail { last: Reached::Answer(StatusCode::UNAUTHORIZED), ..Trail::default() };
    assert!(client.pass_after(&refused, &Trail::default()).await.unwrap().is_none(), "nothing was refused");
    let (mut first, mut second) =
        (Box::pin(client.pass()), Box::pin(client.pass_after(&refused, &unauthorized)));
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    token.0.add_permits(100);
    assert!(second.as_mut().now_or_never().unwrap().unwrap().is_some(), "the one turn is still to be had");
    assert!(first.as_mut().now_or_never().is_none(), "the next one waits for its turn, not for its login");
}

#[tokio::test]
async fn nothing_is_sent_in_a_pause_that_was_asked_for_during_a_login() {
    let (client, token) = client();
    let mut pass = Box::pin(client.pass());
    // The token runs out while the turn is waited for.
    token.0.add_permits(1);
    assert!(pass.as_mut().now_or_never().is_none());
    client.pacer.slow_down(Some(Duration::from_secs(600)));
    token.0.add_permits(1);
    let failure = pass.await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::Throttled);
    assert!(failure.retry_after.unwrap() > Duration::from_secs(500));
}
