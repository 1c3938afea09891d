//! Many calls at once on one connection.
//!
//! `MICA_PACE=CYCLES,ABREAST` says how many; `MICA_PROGRAM` another program than that of the
//! tests. What was measured is printed.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Snapshots;
use crate::server::Server;

fn numbers() -> (u32, u32) {
    let text = std::env::var("MICA_PACE").unwrap_or_else(|_| "64,16".to_owned());
    let (cycles, abreast) = text.split_once(',').unwrap();
    (cycles.parse().unwrap(), abreast.parse().unwrap())
}

/// Returns the middle and the longest of some times.
fn middle_and_longest(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}

#[tokio::test]
async fn cycles_abreast_all_come_to_their_end() {
    let server = Server::start();
    let way = server.way().await;
    let (cycles, abreast) = numbers();
    let start = Instant::now();
    let mut running = JoinSet::new();
    for one in 0..abreast {
        let mut snapshots = Snapshots::on(way.clone());
        running.spawn(async move {
            for number in 0..cycles / abreast {
                let (key, name) = (format!("key {one} {number}"), format!("{one} {number}"));
                snapshots.prepare(&key, "").await.unwrap();
                snapshots.commit(&name, &key).await.unwrap();
                snapshots.remove(&name).await.unwrap();
            }
        });
    }
    running.join_all().await;
    let rate = f64::from(cycles) / start.elapsed().as_secs_f64();
    println!("{cycles} cycles, {abreast} abreast: {rate:.0} a second");
    let mut snapshots = Snapshots::on(way);
    assert_eq!(snapshots.names(&[]).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn nobody_waits_for_a_long_list() {
    let server = Server::start();
    let way = server.way().await;
    let (cycles, abreast) = numbers();
    let mut running = JoinSet::new();
    for one in 0..abreast {
        let mut snapshots = Snapshots::on(way.clone());
        running.spawn(async move {
            for number in 0..cycles / abreast {
                snapshots
                    .prepare(&format!("{one} {number}"), "")
                    .await
                    .unwrap();
            }
        });
    }
    running.join_all().await;
    let mut lister = Snapshots::on(server.way().await);
    let listing = tokio::spawn(async move {
        let mut times = Vec::new();
        for _ in 0..10 {
            let start = Instant::now();
            assert!(lister.names(&[]).await.unwrap().len() >= abreast as usize);
            times.push(start.elapsed());
        }
        times
    });
    let mut snapshots = Snapshots::on(way);
    let mut times = Vec::new();
    while !listing.is_finished() {
        let start = Instant::now();
        snapshots.stat("0 0").await.unwrap();
        times.push(start.elapsed());
    }
    let (lists, stats) = (listing.await.unwrap(), middle_and_longest(times));
    let lists = middle_and_longest(lists);
    println!("{cycles} snapshots: list {lists:?}, stat meanwhile {stats:?} (middle, longest)");
}

#[tokio::test]
async fn a_deep_chain_is_shown_as_soon_as_a_flat_one() {
    let server = Server::start();
    let mut snapshots = Snapshots::on(server.way().await);
    let depth = numbers().0.min(500);
    let mut parent = String::new();
    for number in 0..depth {
        let prepared = snapshots.prepare("making", &parent).await.unwrap();
        if number == 0 {
            std::fs::write(format!("{}/file", prepared[0].source), "base").unwrap();
        }
        parent = format!("layer {number}");
        snapshots.commit(&parent, "making").await.unwrap();
    }
    let timed = Instant::now();
    let prepared = snapshots.prepare("key", &parent).await.unwrap();
    let prepare = timed.elapsed();
    let timed = Instant::now();
    assert_eq!(snapshots.mounts("key").await.unwrap(), prepared);
    let mounts = timed.elapsed();
    let timed = Instant::now();
    let listed = std::fs::read_dir(&prepared[0].source).unwrap().count();
    let list = timed.elapsed();
    assert_eq!(listed, 1);
    println!("{depth} parents: prepare {prepare:?}, mounts {mounts:?}, first list {list:?}");
}
