//! A machine's metadata, and the temporary keys in it.

use std::{collections::BTreeSet, time::Duration};

use connvault_sim::{Endpoint, Fault, Key, Metadata, Rule, Simulator};
use jiff::{SignedDuration, Timestamp};
use reqwest::Response;
use serde_json::Value;

use crate::client::{Client, Hand, builder, query_path, unsigned};

const TTL: &str = "X-Metadata-Token-Ttl-Seconds";
const TOKEN: &str = "X-Metadata-Token";

async fn start(generation: Metadata) -> Simulator {
    builder().metadata(generation).start().await.unwrap()
}

async fn ask_token(sim: &Simulator, seconds: &str) -> Response {
    let url = format!("{}/meta-data/latest/api/token", sim.endpoint());
    unsigned().put(url).header(TTL, seconds).send().await.unwrap()
}

async fn ask_key(sim: &Simulator, token: Option<&str>) -> Response {
    let mut request = unsigned().get(format!("{}/openstack/latest/securitykey", sim.endpoint()));
    if let Some(token) = token {
        request = request.header(TOKEN, token);
    }
    request.send().await.unwrap()
}

async fn key_of(response: Response) -> (Key, Timestamp) {
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    let field = |name: &str| answer["credential"][name].as_str().unwrap().to_owned();
    let until = field("expires_at");
    assert_eq!(until.len(), "2026-11-23T12:00:00.000000Z".len());
    (Key::temporary(field("access"), field("secret"), field("securitytoken")), until.parse().unwrap())
}

#[tokio::test]
async fn without_the_service_neither_path_is_there() {
    let sim = builder().start().await.unwrap();
    assert_eq!(ask_token(&sim, "60").await.status(), 404);
    assert_eq!(ask_key(&sim, None).await.status(), 404);
    assert_eq!(sim.security_keys_issued(), 0);
}

#[tokio::test]
async fn the_first_generation_gives_keys_and_knows_no_tokens() {
    let sim = start(Metadata::WithoutTokens).await;
    assert_eq!(ask_token(&sim, "60").await.status(), 405);
    let mut client = Client::of(&sim);
    (client.key, _) = key_of(ask_key(&sim, None).await).await;
    client.query(&[]).await;
}

#[tokio::test]
async fn the_second_generation_wants_a_token_first() {
    let sim = start(Metadata::WithTokens).await;
    assert_eq!(ask_key(&sim, None).await.status(), 401);
    assert_eq!(ask_key(&sim, Some("guessed")).await.status(), 401);
    for wrong in ["0", "21601", "-1", "soon", ""] {
        assert_eq!(ask_token(&sim, wrong).await.status(), 400, "{wrong:?}");
    }
    let token = ask_token(&sim, "21600").await.text().await.unwrap();
    let mut client = Client::of(&sim);
    (client.key, _) = key_of(ask_key(&sim, Some(&token)).await).await;
    client.query(&[]).await;
    let endpoints: Vec<Endpoint> = sim.requests().iter().map(|request| request.endpoint).collect();
    assert_eq!(endpoints[1..3], [Endpoint::SecurityKey, Endpoint::MetadataToken]);
}

#[tokio::test]
async fn a_token_of_the_service_is_good_for_as_long_as_was_asked() {
    let hand = Hand::at_now();
    let sim = hand.builder().metadata(Metadata::WithTokens).start().await.unwrap();
    let token = ask_token(&sim, "60").await.text().await.unwrap();
    hand.forward(SignedDuration::from_secs(59));
    assert_eq!(ask_key(&sim, Some(&token)).await.status(), 200);
    hand.forward(SignedDuration::from_secs(1));
    assert_eq!(ask_key(&sim, Some(&token)).await.status(), 401);
    let next = ask_token(&sim, "60").await.text().await.unwrap();
    assert_ne!(next, token);
    assert_eq!(ask_key(&sim, Some(&next)).await.status(), 200);
}

#[tokio::test]
async fn every_key_is_another_and_all_are_good_together() {
    let sim = start(Metadata::WithoutTokens).await;
    let mut seen = BTreeSet::new();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::of(&sim);
        (client.key, _) = key_of(ask_key(&sim, None).await).await;
        assert!(seen.insert(client.key.access.clone()));
        clients.push(client);
    }
    for client in &clients {
        client.query(&[]).await;
    }
    assert_eq!(sim.security_keys_issued(), 3);
    assert!(sim.keys().revoke(&clients[1].key.access));
    assert_eq!(clients[1].refusal(&query_path(), &[]).await, (401, "APIGW.0301".to_owned()));
    clients[2].query(&[]).await;
}

#[tokio::test]
async fn a_key_is_good_until_it_expires_and_then_no_more() {
    let hand = Hand::at_now();
    let sim = hand
        .builder()
        .metadata(Metadata::WithoutTokens)
        .security_key_validity(Duration::from_secs(600))
        .start()
        .await
        .unwrap();
    let mut client = Client::of(&sim);
    let until;
    (client.key, until) = key_of(ask_key(&sim, None).await).await;
    assert_eq!(until, hand.now() + SignedDuration::from_secs(600));
    hand.forward(SignedDuration::from_secs(599));
    client.date = hand.now();
    client.query(&[]).await;
    hand.forward(SignedDuration::from_secs(1));
    client.date = hand.now();
    assert_eq!(client.refusal(&query_path(), &[]).await, (401, "APIGW.0301".to_owned()));
    (client.key, _) = key_of(ask_key(&sim, None).await).await;
    client.query(&[]).await;
}

#[tokio::test]
async fn a_key_lives_for_a_day_unless_the_simulator_is_told_otherwise() {
    let sim = start(Metadata::WithoutTokens).await;
    let (_, until) = key_of(ask_key(&sim, None).await).await;
    assert_eq!(until.to_string(), "2026-11-24T12:00:00Z");
}

#[tokio::test]
async fn the_service_can_meet_faults_and_wrong_methods() {
    let sim = start(Metadata::WithTokens).await;
    sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::MetadataToken).times(1));
    assert_eq!(ask_token(&sim, "60").await.status(), 503);
    sim.faults().add(Rule::new(Fault::DropConnection).on(Endpoint::SecurityKey).times(1));
    let url = format!("{}/openstack/latest/securitykey", sim.endpoint());
    assert!(unsigned().get(&url).send().await.is_err());
    assert!(sim.faults().is_spent());
    for wrong in [unsigned().put(&url), unsigned().head(&url)] {
        assert_eq!(wrong.send().await.unwrap().status(), 405);
    }
}
