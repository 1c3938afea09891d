//! Runtimes of the OCI: a bundle that one runs, and one in the place of mica.

use std::path::Path;

use crate::stage::{Stage, Who, text};

#[test]
fn a_bundle_is_run_by_a_runtime() {
    for who in [Who::Root, Who::Bare] {
        let stage = Stage::new(who);
        let bundle = stage.directory("home/bundle").display().to_string();
        let image = stage.image();
        stage.done(&[
            "bundle",
            "-e",
            "FROM=bundle",
            &image,
            &bundle,
            "echo $FROM; id -u; pwd; exit 4",
        ]);
        let name = format!("mica-test-{}-{who:?}", std::process::id());
        let kept = stage.directory("home/kept").display().to_string();
        let manager = "--cgroup-manager=disabled";
        let words = [manager, "--root", &kept, "run", "--bundle", &bundle, &name];
        let output = stage
            .with_cgroups(Path::new("crun"))
            .args(words)
            .output()
            .unwrap();
        let unmounted = stage
            .mica(&["umount", &format!("{bundle}/rootfs")])
            .output()
            .unwrap();
        assert!(unmounted.status.success(), "{who:?}: {unmounted:?}");
        assert_eq!(
            text(&output.stdout),
            "bundle\n0\n/srv\n",
            "{who:?}: {output:?}"
        );
        assert_eq!(output.status.code(), Some(4), "{who:?}: {output:?}");
    }
}

#[test]
fn a_runtime_runs_the_command_in_the_place_of_mica() {
    for who in [Who::Bare, Who::Subordinate] {
        let stage = Stage::new(who);
        let (root, image) = (stage.path("home/store"), stage.image());
        let mut command = stage.with_cgroups(&stage.path("bin/mica"));
        command
            .arg("--root")
            .arg(root)
            .args(["run", "--runtime", "crun", &image]);
        let output = command.arg("id -u; pwd; exit 4").output().unwrap();
        assert_eq!(text(&output.stdout), "0\n/srv\n", "{who:?}: {output:?}");
        assert_eq!(output.status.code(), Some(4), "{who:?}: {output:?}");
        let output = stage.run(&["--runtime", "nope"], &["true"]);
        assert_eq!(output.status.code(), Some(125), "{who:?}: {output:?}");
    }
}
