//! Who is let in.

use connvault_sim::{Key, Simulator};
use jiff::SignedDuration;

use crate::client::{Client, NOW, at, builder, error_of, export_path, query_path};

const WRONG: (u16, &str) = (401, "APIGW.0301");

async fn refused(client: &Client) -> (u16, String) {
    client.refusal(&query_path(), &[("user_name", "a b+c")]).await
}

fn expect(refusal: (u16, String), expected: (u16, &str)) {
    assert_eq!((refusal.0, refusal.1.as_str()), expected);
}

async fn start() -> Simulator {
    builder().start().await.unwrap()
}

#[tokio::test]
async fn a_well_signed_request_with_awkward_values_is_let_in() {
    let sim = start().await;
    let value = "a b+c~d*e/f%g&h=i 张 🖥️ \"q\"";
    Client::of(&sim).query(&[("user_name", value)]).await;
    assert_eq!(sim.requests()[0].parameter("user_name"), Some(value));
}

#[tokio::test]
async fn a_request_signed_with_another_secret_is_refused() {
    let sim = start().await;
    let mut client = Client::of(&sim);
    client.key.secret.push('x');
    let response = client.get(&query_path(), &[]).await.unwrap();
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["error_code"], "APIGW.0301");
    assert_eq!(body["error_msg"], "Incorrect IAM authentication information: verify aksk signature fail");
}

#[tokio::test]
async fn an_unsigned_request_and_an_unknown_key_are_refused() {
    let sim = start().await;
    let bare = reqwest::get(format!("{}{}", sim.endpoint(), export_path())).await;
    expect(error_of(bare.unwrap()).await, WRONG);
    let mut client = Client::of(&sim);
    client.key.access.push('X');
    expect(refused(&client).await, WRONG);
    assert_eq!(sim.requests()[1].access_key, Some(client.key.access.clone()));
}

#[tokio::test]
async fn a_path_that_is_none_is_told_so_with_a_date_and_without_a_signature() {
    let sim = start().await;
    let response = reqwest::get(format!("{}/", sim.endpoint())).await.unwrap();
    assert_eq!(response.headers()["date"], "Mon, 23 Nov 2026 12:00:00 GMT");
    expect(error_of(response).await, (404, "APIGW.0101"));
}

#[tokio::test]
async fn a_clock_may_be_fifteen_minutes_off_and_not_a_second_more() {
    let sim = start().await;
    let mut client = Client::of(&sim);
    for minutes in [-15, 15] {
        client.date = at(NOW) + SignedDuration::from_mins(minutes);
        client.query(&[]).await;
        client.date += SignedDuration::from_secs(minutes.signum());
        expect(refused(&client).await, (401, "APIGW.0303"));
    }
}

#[tokio::test]
async fn a_plus_for_a_space_is_refused_even_if_it_was_signed_that_way() {
    let sim = start().await;
    let client = Client::of(&sim);
    for (signed, sent) in [
        ("user_name=a%20b", "user_name=a+b"),
        ("user_name=a%2Bb", "user_name=a+b"),
        ("user_name=a+b", "user_name=a+b"),
        ("start_time=2026-11-21T00%3A00Z", "start_time=2026-11-21T00:00Z"),
    ] {
        let response = client.request(&query_path(), signed, sent).send().await.unwrap();
        expect(error_of(response).await, WRONG);
    }
}

#[tokio::test]
async fn the_order_of_the_wire_is_free() {
    let sim = start().await;
    let request = Client::of(&sim).request(&query_path(), "limit=5&offset=0", "offset=0&limit=5");
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_temporary_key_needs_its_token_signed() {
    let sim = start().await;
    sim.keys().add(Key::temporary("TEMPORARY", "secret", "token/+="));
    let mut client = Client::of(&sim);
    client.key = Key::temporary("TEMPORARY", "secret", "token/+=");
    client.query(&[]).await;
    client.key.security_token = Some("another".to_owned());
    expect(refused(&client).await, WRONG);
    client.key.security_token = None;
    expect(refused(&client).await, WRONG);
    let unsigned = client.request(&query_path(), "", "").header("X-Security-Token", "token/+=");
    expect(error_of(unsigned.send().await.unwrap()).await, WRONG);
    client.key = Key::example();
    client.key.security_token = Some("token/+=".to_owned());
    expect(refused(&client).await, WRONG);
}

#[tokio::test]
async fn a_revoked_key_is_refused_and_a_new_one_let_in_at_once() {
    let sim = start().await;
    let mut client = Client::of(&sim);
    client.query(&[]).await;
    assert!(sim.keys().revoke(&client.key.access));
    assert!(!sim.keys().revoke(&client.key.access));
    expect(refused(&client).await, WRONG);
    client.key = Key::permanent("NEXT", "secret");
    sim.keys().add(client.key.clone());
    client.query(&[]).await;
}

#[test]
fn neither_secret_nor_token_is_shown_in_debug_output() {
    let shown = format!("{:?}", Key::temporary("ACCESS", "hush-secret", "hush-token"));
    assert!(shown.contains("ACCESS") && !shown.contains("hush"), "{shown}");
}
