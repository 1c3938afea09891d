//! The cases of the life of snapshots: kinds, parents, labels, filters.

use std::fs;
use std::time::{Duration, SystemTime};

use mica_proto::prost_types::Timestamp;
use mica_proto::snapshots::{Info, Kind};
use tonic::Code;

use crate::client::labels;
use crate::server::refused;
use crate::stage::Stage;

/// Returns the time of a message.
fn time(timestamp: Option<Timestamp>) -> SystemTime {
    SystemTime::try_from(timestamp.unwrap()).unwrap()
}

pub(crate) async fn basic(stage: &mut Stage) {
    stage
        .commit("base", "", |top| {
            fs::write(top.join("foo"), "foo\n").unwrap();
            fs::create_dir_all(top.join("a/b/c")).unwrap();
        })
        .await;
    let base = stage.snapshots.stat("base").await.unwrap();
    assert_eq!((base.kind(), base.parent.as_str()), (Kind::Committed, ""));
    let end = "snapshot preparing base does not exist: not found";
    let gone = stage.snapshots.stat("preparing base").await;
    refused(gone, Code::NotFound, end);

    let next = stage.snapshots.prepare("next", "base").await.unwrap();
    let mounted = stage.mount(&next);
    assert_eq!(fs::read(mounted.path().join("foo")).unwrap(), b"foo\n");
    assert!(mounted.path().join("a/b/c").is_dir());
    fs::write(mounted.path().join("bar"), "bar\n").unwrap();
    fs::write(mounted.path().join("foo"), "foo too\n").unwrap();
    fs::remove_dir_all(mounted.path().join("a/b")).unwrap();
    let info = stage.snapshots.stat("next").await.unwrap();
    assert_eq!((info.kind(), info.parent.as_str()), (Kind::Active, "base"));
    assert_eq!(stage.snapshots.mounts("next").await.unwrap(), next);
    drop(mounted);
    stage.snapshots.commit("top", "next").await.unwrap();
    let top = stage.snapshots.stat("top").await.unwrap();
    assert_eq!(stage.snapshots.list(&[]).await.unwrap(), [base, top]);

    let mounts = stage.snapshots.view("view", "top").await.unwrap();
    let mounted = stage.mount(&mounts);
    assert_eq!(fs::read(mounted.path().join("foo")).unwrap(), b"foo too\n");
    assert_eq!(fs::read(mounted.path().join("bar")).unwrap(), b"bar\n");
    assert!(mounted.path().join("a").is_dir() && !mounted.path().join("a/b").exists());
    drop(mounted);
    stage.snapshots.remove("view").await.unwrap();
    let end = "cannot remove snapshot with child: failed precondition";
    let below = stage.snapshots.remove("base").await;
    refused(below, Code::FailedPrecondition, end);
    for name in ["top", "base"] {
        stage.snapshots.remove(name).await.unwrap();
    }
    assert_eq!(stage.snapshots.names(&[]).await.unwrap(), [""; 0]);
}

pub(crate) async fn stat_active(stage: &mut Stage) {
    stage.snapshots.prepare("active", "").await.unwrap();
    let info = stage.snapshots.stat("active").await.unwrap();
    let seen = (info.name.as_str(), info.kind(), info.parent.as_str());
    assert_eq!(seen, ("active", Kind::Active, ""));
    assert_eq!(info.created_at, info.updated_at);
}

pub(crate) async fn stat_committed(stage: &mut Stage) {
    stage.commit("committed", "", |_| {}).await;
    let info = stage.snapshots.stat("committed").await.unwrap();
    let seen = (info.name.as_str(), info.kind(), info.parent.as_str());
    assert_eq!(seen, ("committed", Kind::Committed, ""));
    assert_eq!(info.created_at, info.updated_at);
}

pub(crate) async fn transitivity(stage: &mut Stage) {
    stage.commit("a", "", |_| {}).await;
    stage.commit("b", "a", |_| {}).await;
    assert_eq!(stage.snapshots.stat("b").await.unwrap().parent, "a");
    assert_eq!(stage.snapshots.stat("a").await.unwrap().parent, "");
}

pub(crate) async fn prepare_view_failing(stage: &mut Stage) {
    stage.commit("base", "", |_| {}).await;
    stage.snapshots.prepare("active", "base").await.unwrap();
    stage.snapshots.view("view", "base").await.unwrap();
    for key in ["active", "view", "base"] {
        let prepared = stage.snapshots.prepare(key, "base").await;
        refused(prepared, Code::AlreadyExists, "already exists");
        let viewed = stage.snapshots.view(key, "base").await;
        refused(viewed, Code::AlreadyExists, "already exists");
    }
    assert_eq!(stage.snapshots.names(&[]).await.unwrap().len(), 3);
}

pub(crate) async fn update(stage: &mut Stage) {
    let before = SystemTime::now() - Duration::from_secs(1);
    for name in ["c1", "c2"] {
        stage.commit(name, "", |_| {}).await;
    }
    let all = &mut stage.snapshots;
    for (key, parent) in [("a1", "c2"), ("a2", "")] {
        let pairs = [("l1", "v1"), ("l2", "v2")];
        all.prepare_with(key, parent, &pairs).await.unwrap();
    }
    for (key, parent) in [("v1", "c2"), ("v2", "")] {
        all.view(key, parent).await.unwrap();
    }
    for name in ["c1", "c2", "a1", "a2", "v1", "v2"] {
        let old = all.stat(name).await.unwrap();
        assert_eq!(old.created_at, old.updated_at, "{name}");
        assert!(time(old.created_at) > before, "{name}");
        let four = [("l1", "a"), ("l2", "b"), ("l3", "c"), ("l5", "d")];
        let info = |pairs: &[(&str, &str)]| Info {
            name: name.to_owned(),
            parent: "doesnotexist".to_owned(),
            labels: labels(pairs),
            ..Info::default()
        };
        let new = all.update(info(&four), &[]).await.unwrap();
        let seen = (&new.parent, new.kind, new.created_at);
        assert_eq!(seen, (&old.parent, old.kind, old.created_at), "{name}");
        assert_eq!(new.labels, labels(&four), "{name}");
        let updated = time(new.updated_at);
        let now = SystemTime::now() + Duration::from_secs(1);
        assert!(time(old.updated_at) < updated && updated < now, "{name}");
        let given = [("l1", "updated"), ("l4", "not added")];
        let mask = ["labels.l1", "labels.l2"];
        let new = all.update(info(&given), &mask).await.unwrap();
        let left = [("l1", "updated"), ("l3", "c"), ("l5", "d")];
        assert_eq!(new.labels, labels(&left), "{name}");
        let new = all.update(info(&given), &["labels"]).await.unwrap();
        assert_eq!(new.labels, labels(&given), "{name}");
        assert_eq!(all.stat(name).await.unwrap(), new, "{name}");
        let refusal = all.update(info(&[]), &["parent"]).await;
        let end = format!(r#"cannot update "parent" field on snapshot "{name}": invalid argument"#);
        refused(refusal, Code::InvalidArgument, &end);
    }
}

pub(crate) async fn remove(stage: &mut Stage) {
    stage.commit("committed-1", "", |_| {}).await;
    let all = &mut stage.snapshots;
    for _ in 0..2 {
        all.prepare("reuse", "committed-1").await.unwrap();
        all.remove("reuse").await.unwrap();
        all.view("reuse", "committed-1").await.unwrap();
        all.remove("reuse").await.unwrap();
    }
    all.prepare("reuse", "").await.unwrap();
    all.remove("committed-1").await.unwrap();
    all.commit("committed-1", "reuse").await.unwrap();
    refused(all.remove("reuse").await, Code::NotFound, "not found");
}

pub(crate) async fn walk(stage: &mut Stage) {
    let all = &mut stage.snapshots;
    for (name, label) in [("c", "1"), ("c-wl", "2")] {
        all.prepare("key", "").await.unwrap();
        all.commit(name, "key").await.unwrap();
        if name == "c-wl" {
            let info = Info {
                name: name.to_owned(),
                labels: labels(&[("l", label), ("containerd.io/gc.root", "1")]),
                ..Info::default()
            };
            all.update(info, &[]).await.unwrap();
        }
    }
    all.prepare("a", "c-wl").await.unwrap();
    all.prepare_with("a-wl", "c-wl", &[("l", "3")])
        .await
        .unwrap();
    all.prepare("a-np", "").await.unwrap();
    all.prepare_with("a-np-wl", "", &[("l", "3")])
        .await
        .unwrap();
    all.view("v", "c-wl").await.unwrap();
    all.view("v-np", "").await.unwrap();
    let table: [(&[&str], &[&str]); 10] = [
        (&["kind==committed"], &["c", "c-wl"]),
        (&["kind==active"], &["a", "a-np", "a-np-wl", "a-wl"]),
        (&["kind==view"], &["v", "v-np"]),
        (&["name==c", "name==v"], &["c", "v"]),
        (&["name==a-wl,labels.l"], &["a-wl"]),
        (&["parent==c-wl"], &["a", "a-wl", "v"]),
        (&[r#"parent!="""#], &["a", "a-wl", "v"]),
        (&["labels.l"], &["a-np-wl", "a-wl", "c-wl"]),
        (&["labels.l==2"], &["c-wl"]),
        (&[r#"labels."containerd.io/gc.root""#], &["c-wl"]),
    ];
    for (filters, expected) in table {
        let mut names = all.names(filters).await.unwrap();
        names.sort();
        assert_eq!(names, expected, "{filters:?}");
    }
    // The one error that is reported under no class.
    let bad = all.names(&["kind=active"]).await;
    refused(bad, Code::Unknown, "invalid argument");
}

pub(crate) async fn remove_intermediate_snapshot(stage: &mut Stage) {
    stage.commit("base", "", |_| {}).await;
    stage.commit("middle", "base", |_| {}).await;
    let all = &mut stage.snapshots;
    all.prepare("top", "middle").await.unwrap();
    let removed = all.remove("middle").await;
    let end = "cannot remove snapshot with child: failed precondition";
    refused(removed, Code::FailedPrecondition, end);
    for name in ["top", "middle", "base"] {
        all.remove(name).await.unwrap();
    }
}

pub(crate) async fn view_readonly(stage: &mut Stage) {
    let write = |top: &std::path::Path| fs::write(top.join("file"), "file");
    stage.commit("base", "", |top| write(top).unwrap()).await;
    for (key, parent) in [("view", "base"), ("of nothing", "")] {
        let mounts = stage.snapshots.view(key, parent).await.unwrap();
        let mounted = stage.mount(&mounts);
        let error = write(mounted.path()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{key}");
    }
}

pub(crate) async fn stat_in_walk(stage: &mut Stage) {
    stage.commit("base", "", |_| {}).await;
    let all = &mut stage.snapshots;
    for number in 0..150 {
        // More than fit in one message.
        all.prepare(&format!("{number}"), "base").await.unwrap();
    }
    let infos = all.list(&[]).await.unwrap();
    assert_eq!(infos.len(), 151);
    for info in infos {
        assert_eq!(all.stat(&info.name).await.unwrap(), info);
    }
}

pub(crate) async fn close_twice(stage: &mut Stage) {
    // To close it is nothing that a client could do to others.
    for _ in 0..2 {
        let mut other = crate::client::Snapshots::on(stage.way.clone());
        other.prepare("key", "").await.unwrap();
        other.commit("name", "key").await.unwrap();
        drop(other);
        stage.snapshots.remove("name").await.unwrap();
    }
}
