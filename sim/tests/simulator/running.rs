//! Starting and stopping.

use std::{io::ErrorKind, net::TcpStream, time::Duration};

use connvault_sim::{Endpoint, Simulator};

use crate::client::{Client, builder};

#[tokio::test]
async fn an_address_that_is_not_loopback_is_refused() {
    let started = Simulator::builder().listen("0.0.0.0:0".parse().unwrap()).start().await;
    assert_eq!(started.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_stopped_simulator_no_longer_listens() {
    let sim = builder().start().await.unwrap();
    let address = sim.address();
    Client::of(&sim).query(&[]).await;
    sim.stop().await;
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_dropped_simulator_no_longer_listens() {
    let sim = builder().start().await.unwrap();
    let address = sim.address();
    drop(sim);
    for _ in 0..50 {
        if TcpStream::connect(address).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still listening");
}

#[tokio::test]
async fn the_log_can_be_cleared() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    client.query(&[]).await;
    assert_eq!((sim.requests().len(), sim.request_count(Endpoint::Query)), (1, 1));
    sim.clear_requests();
    assert_eq!((sim.requests().len(), sim.request_count(Endpoint::Query)), (0, 0));
}
