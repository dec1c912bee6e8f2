//! Tokens by password, and projects by name.

use std::time::Duration;

use connvault_sim::{Builder, DEFAULT_PROJECT_ID, Endpoint, Fault, Rule, Simulator};
use jiff::SignedDuration;
use reqwest::Response;
use serde_json::{Value, json};

use crate::client::{Client, Hand, builder, error_of, query_path, tasks_path, unsigned};

const HOUR: Duration = Duration::from_secs(3600);

fn with_users(builder: Builder) -> Builder {
    builder.iam_user("acme", "archivist", "pass word").iam_user("acme", "other", "1234").region("ap-west-9")
}

fn body(password: &str, scope: Value) -> Value {
    let user = json!({ "domain": { "name": "acme" }, "name": "archivist", "password": password });
    json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": user } },
        "scope": scope,
    }})
}

fn right() -> Value {
    body("pass word", json!({ "project": { "name": "ap-west-9" } }))
}

async fn log_in(sim: &Simulator, body: &Value) -> Response {
    unsigned().post(format!("{}/v3/auth/tokens", sim.endpoint())).json(body).send().await.unwrap()
}

async fn token(sim: &Simulator) -> String {
    let response = log_in(sim, &right()).await;
    assert_eq!(response.status(), 201);
    response.headers()["x-subject-token"].to_str().unwrap().to_owned()
}

async fn with_token(sim: &Simulator, token: &str, path: &str) -> Response {
    let url = format!("{}{path}", sim.endpoint());
    unsigned().get(url).header("X-Auth-Token", token).send().await.unwrap()
}

#[tokio::test]
async fn a_password_gives_a_token_that_stands_for_a_signature() {
    let sim = with_users(builder()).start().await.unwrap();
    let response = log_in(&sim, &right()).await;
    assert_eq!(response.status(), 201);
    let token = response.headers()["x-subject-token"].to_str().unwrap().to_owned();
    let shown: Value = response.json().await.unwrap();
    assert_eq!(
        shown["token"],
        json!({
            "methods": ["password"],
            "issued_at": "2026-11-23T12:00:00.000000Z",
            "expires_at": "2026-11-24T12:00:00.000000Z",
            "project": { "id": DEFAULT_PROJECT_ID, "name": "ap-west-9" },
        })
    );
    for path in [query_path(), tasks_path(), "/v3/projects".to_owned()] {
        assert_eq!(with_token(&sim, &token, &path).await.status(), 200, "{path}");
    }
    assert_eq!(sim.tokens_issued(), 1);
    assert_eq!(sim.requests()[0].endpoint, Endpoint::IamTokens);
    assert_eq!(sim.requests()[1].access_key, None);
}

#[tokio::test]
async fn the_project_may_be_named_by_its_id() {
    let sim = with_users(builder()).start().await.unwrap();
    let by_id = body("pass word", json!({ "project": { "id": DEFAULT_PROJECT_ID } }));
    assert_eq!(log_in(&sim, &by_id).await.status(), 201);
}

#[tokio::test]
async fn every_token_is_another_and_no_other_text_is_one() {
    let sim = with_users(builder()).start().await.unwrap();
    let (first, second) = (token(&sim).await, token(&sim).await);
    assert_ne!(first, second);
    for good in [&first, &second] {
        assert_eq!(with_token(&sim, good, &query_path()).await.status(), 200);
    }
    let refusal = error_of(with_token(&sim, "MIIsim", &query_path()).await).await;
    assert_eq!(refusal, (401, "APIGW.0307".to_owned()));
}

#[tokio::test]
async fn who_does_not_know_the_password_gets_no_token() {
    let sim = with_users(builder()).start().await.unwrap();
    let project = json!({ "project": { "name": "ap-west-9" } });
    let mut stranger = right();
    stranger["auth"]["identity"]["password"]["user"]["domain"]["name"] = json!("other");
    // Another user's password is none.
    for wrong in [body("1234", project.clone()), body("", project), stranger] {
        let response = log_in(&sim, &wrong).await;
        assert_eq!(response.status(), 401);
        assert!(response.headers().get("x-subject-token").is_none());
        let error: Value = response.json().await.unwrap();
        let message = "The username or password is wrong.";
        let expected = json!({ "error": { "code": 401, "message": message, "title": "Unauthorized" } });
        assert_eq!(error, expected);
    }
    assert_eq!(sim.tokens_issued(), 0);
}

#[tokio::test]
async fn a_token_is_for_a_project_that_exists() {
    let sim = with_users(builder()).start().await.unwrap();
    for scope in [
        json!({ "project": { "name": "elsewhere" } }),
        json!({ "project": { "id": "f".repeat(32) } }),
        json!({ "domain": { "name": "acme" } }),
        json!({}),
    ] {
        let response = log_in(&sim, &body("pass word", scope)).await;
        assert_eq!(response.status(), 401);
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["title"], "Unauthorized");
    }
}

#[tokio::test]
async fn what_is_no_login_is_answered_with_400() {
    let sim = with_users(builder()).start().await.unwrap();
    let mut other_method = right();
    other_method["auth"]["identity"]["methods"] = json!(["token"]);
    for wrong in [other_method, json!({}), json!("text")] {
        assert_eq!(log_in(&sim, &wrong).await.status(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let hand = Hand::at_now();
    let sim = with_users(hand.builder()).token_validity(HOUR).start().await.unwrap();
    let token = token(&sim).await;
    hand.forward(SignedDuration::from_secs(3599));
    assert_eq!(with_token(&sim, &token, &query_path()).await.status(), 200);
    hand.forward(SignedDuration::from_secs(1));
    let refusal = error_of(with_token(&sim, &token, &query_path()).await).await;
    assert_eq!(refusal, (401, "APIGW.0307".to_owned()));
}

#[tokio::test]
async fn tokens_can_be_revoked_and_a_new_one_is_good() {
    let sim = with_users(builder()).start().await.unwrap();
    let old = token(&sim).await;
    sim.revoke_tokens();
    assert_eq!(with_token(&sim, &old, &query_path()).await.status(), 401);
    let new = token(&sim).await;
    assert_eq!(with_token(&sim, &new, &query_path()).await.status(), 200);
    assert_eq!(with_token(&sim, &old, &query_path()).await.status(), 401);
    assert_eq!(sim.tokens_issued(), 2);
}

#[tokio::test]
async fn a_token_may_not_ask_another_project() {
    let sim = with_users(builder()).start().await.unwrap();
    let token = token(&sim).await;
    let other = "/v2/ffffffffffffffffffffffffffffffff/connections/desktops";
    let refusal = error_of(with_token(&sim, &token, other).await).await;
    assert_eq!(refusal, (404, "WKS.00000404".to_owned()));
}

#[tokio::test]
async fn a_project_is_found_by_its_name_with_a_signature() {
    let sim = with_users(builder()).start().await.unwrap();
    let client = Client::of(&sim);
    let projects = async |name| -> Value {
        let response = client.get("/v3/projects", &[("name", name)]).await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    };
    let found = projects("ap-west-9").await;
    assert_eq!(found["projects"].as_array().unwrap().len(), 1);
    assert_eq!(found["projects"][0]["id"], DEFAULT_PROJECT_ID);
    assert_eq!(found["projects"][0]["name"], "ap-west-9");
    assert_eq!(found["projects"][0]["enabled"], true);
    assert!(found["links"]["self"].is_string());
    assert_eq!(projects("elsewhere").await["projects"], json!([]));
    let nobody = unsigned().get(format!("{}/v3/projects?name=ap-west-9", sim.endpoint())).send().await;
    assert_eq!(error_of(nobody.unwrap()).await, (401, "APIGW.0301".to_owned()));
}

#[tokio::test]
async fn a_login_can_meet_a_fault() {
    let sim = with_users(builder()).start().await.unwrap();
    sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::IamTokens).times(1));
    sim.faults().add(Rule::new(Fault::Throttle { retry_after: None }).on(Endpoint::IamTokens).times(1));
    let (lost, refused) = (log_in(&sim, &right()).await, log_in(&sim, &right()).await);
    assert_eq!((lost.status().as_u16(), refused.status().as_u16()), (503, 429));
    // One was given out, though its answer was lost.
    assert_eq!(sim.tokens_issued(), 1);
    let wrong_method = unsigned().get(format!("{}/v3/auth/tokens", sim.endpoint())).send().await.unwrap();
    assert_eq!(wrong_method.status(), 405);
}
