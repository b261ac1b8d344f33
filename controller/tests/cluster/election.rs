//! Two controllers as processes: one leads, and the other takes over however the first one goes.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::world::World;

struct Process(Child);

impl Process {
    fn start(world: &World, identity: &str) -> Self {
        let child = Command::new(Path::new(env!("CARGO_BIN_EXE_kyros-controller")))
            .args(["run", "--namespace", "default", "--system-namespace", &world.namespace, "--identity", identity])
            .env("KUBECONFIG", world.plane.kubeconfig())
            .env("KYROS_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn holder(world: &World) -> String {
    let leases: Api<Lease> = world.api();
    let lease = leases.get_opt("kyros-controller").await.unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

async fn until_led_by(world: &World, identity: &str) {
    world.until(&format!("{identity} leads"), async || holder(world).await.starts_with(identity)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_takes_over_however_the_leader_goes() {
    let Some(world) = World::new("election").await else { return };
    let first = Process::start(&world, "first");
    until_led_by(&world, "first").await;
    let mut second = Process::start(&world, "second");
    first.signal("KILL");
    until_led_by(&world, "second").await;
    let third = Process::start(&world, "third");
    second.signal("STOP");
    until_led_by(&world, "third").await;
    // When it goes on, it finds that its time is over, and ends at once.
    second.signal("CONT");
    let ended = tokio::task::spawn_blocking(move || second.0.wait().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(1));
    until_led_by(&world, "third").await;
    // One that is asked to stop gives the lease back.
    let fourth = Process::start(&world, "fourth");
    third.signal("TERM");
    until_led_by(&world, "fourth").await;
    drop(fourth);
}
