//! Collections while others make, use and forget the same things.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::layers::LayerState;

/// Images that each thread makes.
const ROUNDS: usize = 12;
const THREADS: usize = 3;

/// Makes an image as a pull does, looks whether all of it is there, and removes it.
fn live_and_die(store: &Store, name: &str, content: &[u8]) {
    let namespace = Namespace::default();
    let tar = tar_of(content);
    let diff_id = DiffId(Digest::sha256(&tar));
    let chain = ChainId::chain(std::slice::from_ref(&diff_id))
        .pop()
        .unwrap()
        .to_string();
    let manifest = Descriptor::of(MediaType::OCI_MANIFEST, content);
    let resources = vec![
        Resource::content(&manifest.digest),
        Resource::layer(&diff_id),
    ];
    let lease = Leases::new(store, namespace.clone())
        .hold("test", resources)
        .unwrap();
    if store.content().size(&manifest.digest).unwrap().is_none() {
        store.content().write(&manifest, content).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let lock = runtime.block_on(store.layers().lock(&diff_id)).unwrap();
    if store.layers().state(&diff_id).unwrap() == LayerState::Missing {
        let mut unpacking = store.layers().unpack(&diff_id).unwrap();
        unpacking.push(&tar).unwrap();
        unpacking.finish().unwrap();
    }
    drop(lock);
    let record = |t: &Transaction| {
        let label = ("containerd.io/gc.ref.snapshot.mica", chain.as_str());
        put_content(t, &manifest, &[label])?;
        commit_chain(t, &namespace, std::slice::from_ref(&diff_id))?;
        images::record(t, &namespace, name, &manifest)
    };
    lease.end_with(record).unwrap();
    assert_eq!(
        store.content().read(&manifest.digest, 1 << 20).unwrap(),
        content
    );
    let hold = store.layers().hold(std::slice::from_ref(&diff_id)).unwrap();
    let remove = |t: &Transaction| t.remove::<crate::meta::ImageRecord>(&namespace, name);
    store.meta().write(remove).unwrap();
    assert_eq!(
        store.layers().verify(&diff_id).unwrap().size,
        tar.len() as u64
    );
    drop(hold);
}

#[test]
fn nothing_needed_disappears() {
    let stage = Stage::new();
    let root = stage.store.root();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let store = Store::open(root).unwrap();
                    for round in 0..ROUNDS {
                        // The threads use the same layers and manifests, in another order.
                        let content = format!("content {}", (round + thread) % 4);
                        live_and_die(&store, &format!("image-{thread}"), content.as_bytes());
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let store = Store::open(root).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                collect(&store).unwrap();
            }
        });
        let results: Vec<_> = makers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
    collect(&stage.store).unwrap();
    assert_eq!(stage.counts(), [0, 0, 0]);
    assert_eq!(fs::read_dir(stage.store.tmp()).unwrap().count(), 0);
}
