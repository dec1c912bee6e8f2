//! Signatures made by others, which the simulator must accept.
//!
//! The first is the worked example of the vendor's "API Request Signing Guide", with the key pair printed there.
//! The others were made with the vendor's Python SDK, `huaweicloudsdkcore`: a `SdkRequest` with the query as a
//! list of pairs and the header `X-Sdk-Date: 20261123T120000Z` was given to `Signer(credentials).sign(request)`;
//! path and query are `request.uri`, the rest is the request's `Authorization`.

use axum::http::{HeaderMap, HeaderName};
use connvault_sim::{
    Key, Keys,
    signature::{Refusal, SignedRequest, verify},
};

use crate::client::{at, encode};

const DATE: &str = "20261123T120000Z";
const ACCESS: &str = "SIMVECTORACCESS00001";
const SECRET: &str = "sim-vector-secret/+=0001";
const EXPORT: &str = "/v2/0123456789abcdef0123456789abcdef/connections/desktops/export";

struct Vector {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    body: &'static str,
    headers: &'static [(&'static str, &'static str)],
    signature: &'static str,
}

const HOST: (&str, &str) = ("host", "workspace.example.com");
const JSON: (&str, &str) = ("content-type", "application/json");
const SIGNED_AT: (&str, &str) = ("x-sdk-date", DATE);
const TOKEN: &str = "sim-vector-token/+==";

const SDK_VECTORS: [Vector; 7] = [
    // No query at all.
    Vector {
        method: "GET",
        path: EXPORT,
        query: "",
        body: "",
        headers: &[HOST, SIGNED_AT],
        signature: "1999fa740de0b938a7b253853b334b6cec897dc3e41f0a3465c37c71cfc3e712",
    },
    // start_time=2026-11-21T23:59Z, end_time=2026-11-23T00:01Z, language=zh_CN
    Vector {
        method: "GET",
        path: EXPORT,
        query: "end_time=2026-11-23T00%3A01Z&language=zh_CN&start_time=2026-11-21T23%3A59Z",
        body: "",
        headers: &[HOST, SIGNED_AT],
        signature: "57029599456c7eb3c9818e0050ce9a60f145412a24864ef0f910940d17c77468",
    },
    // user_name=`a b+c~d*e/f%g&h=i?j#k`, computer_name=`示例 🖥️` (with its variation selector),
    // terminal_type=`"q",'s';(x)!@$[]{}|\^` and then "`<>:é"
    Vector {
        method: "GET",
        path: EXPORT,
        query: "computer_name=%E7%A4%BA%E4%BE%8B%20%F0%9F%96%A5%EF%B8%8F\
            &terminal_type=%22q%22%2C%27s%27%3B%28x%29%21%40%24%5B%5D%7B%7D%7C%5C%5E%60%3C%3E%3A%C3%A9\
            &user_name=a%20b%2Bc~d%2Ae%2Ff%25g%26h%3Di%3Fj%23k",
        body: "",
        headers: &[HOST, SIGNED_AT],
        signature: "270c984b8db578b98cedeac98f3c029cb71f6c7c66350d8131d02b9bc8ab4a48",
    },
    // Names that sort by their bytes, one name twice, one value empty.
    Vector {
        method: "GET",
        path: EXPORT,
        query: "B=z&a=y&a-b=x&a.b=&b=1&b=2",
        body: "",
        headers: &[HOST, SIGNED_AT],
        signature: "f3465019694c950632044b5140f825050fc05841e6275c04bade3d2505bcb0d1",
    },
    // Values of one name that sort otherwise encoded than decoded: z { ~ é
    Vector {
        method: "GET",
        path: EXPORT,
        query: "a=z&a=%7B&a=~&a=%C3%A9",
        body: "",
        headers: &[HOST, SIGNED_AT],
        signature: "559e389cfd2f4c05ede268c646fd2bdf5ab58a578cc9abae1960167ac39bb681",
    },
    // A temporary key; user_name=`100%25 sure`
    Vector {
        method: "GET",
        path: EXPORT,
        query: "user_name=100%2525%20sure",
        body: "",
        headers: &[JSON, HOST, SIGNED_AT, ("x-security-token", TOKEN)],
        signature: "3047ccd267a3f5844d97831e961002428c9ae77f6faecefeed1cb8074a28ea4d",
    },
    // A body.
    Vector {
        method: "POST",
        path: "/v2/0123456789abcdef0123456789abcdef/export-tasks/batch-delete",
        query: "",
        body: r#"{"task_ids":["1"]}"#,
        headers: &[JSON, HOST, SIGNED_AT],
        signature: "d73ee26db2bd7871d6bdf528dc97f2f099731f98311f9506d86008306815d3c7",
    },
];

impl Vector {
    fn verify(&self, access: &str, secret: &str, now: &str) -> Result<Key, Refusal> {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        let authorization = format!(
            "SDK-HMAC-SHA256 Access={access}, SignedHeaders={}, Signature={}",
            names.join(";"),
            self.signature
        );
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        for (name, value) in self.headers {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let key = match headers.get("x-security-token") {
            Some(token) => Key::temporary(access, secret, token.to_str().unwrap()),
            None => Key::permanent(access, secret),
        };
        let request = SignedRequest {
            method: self.method,
            path: self.path,
            query: self.query,
            headers: &headers,
            body: self.body.as_bytes(),
        };
        verify(&request, &Keys::from_iter([key]), at(now))
    }
}

#[test]
fn signatures_of_the_official_sdk_are_accepted() {
    for vector in SDK_VECTORS {
        let outcome = vector.verify(ACCESS, SECRET, "2026-11-23T12:00:00Z");
        assert!(outcome.is_ok(), "{}: {outcome:?}", vector.query);
    }
}

#[test]
fn signatures_of_the_official_sdk_are_refused_under_another_secret() {
    for vector in SDK_VECTORS {
        let outcome = vector.verify(ACCESS, "another", "2026-11-23T12:00:00Z");
        assert_eq!(outcome, Err(Refusal::Mismatch), "{}", vector.query);
    }
}

#[test]
fn a_path_with_odd_characters_is_signed_as_the_official_sdk_signs_it() {
    // The SDK was given the path `/v2/a b+c~张/%41%2B/connections`, which it decodes before it signs; on the wire a
    // client has to escape the first part.
    let path = format!("/v2/{}/%41%2B/connections", encode("a b+c~张"));
    let vector = Vector {
        method: "GET",
        path: Box::leak(path.into_boxed_str()),
        query: "x=1",
        body: "",
        headers: &[HOST, SIGNED_AT],
        signature: "2c2730c3641485f6ac78c652a47223107b556185708f96c736fea879751330da",
    };
    assert!(vector.verify(ACCESS, SECRET, "2026-11-23T12:00:00Z").is_ok());
}

#[test]
fn the_published_example_is_accepted() {
    let vector = Vector {
        method: "GET",
        path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        query: "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
        body: "",
        headers: &[JSON, ("host", "service.region.example.com"), ("x-sdk-date", "20191115T033655Z")],
        signature: "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
    };
    let outcome = vector.verify(
        "QTWAOYTTINDUT2QVKYUC",
        "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc",
        "2019-11-15T03:36:55Z",
    );
    assert!(outcome.is_ok(), "{outcome:?}");
}
