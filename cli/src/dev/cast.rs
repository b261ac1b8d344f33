//! Who may play: the mock people, the tenants for which each may open the dashboard, and who it is right now.
//!
//! Nothing is decided here. Every answer comes from the running portal, asked as any client would ask it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use kyros_shared_config::{DashboardSlug, PublicUrl, TenantId};
use serde::Deserialize;
use url::Url;

/// The portal, reached as a browser on this machine reaches it.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) client: reqwest::Client,
    pub(super) origin: String,
}

/// A mock person with a token, as the portal lists them.
#[derive(Deserialize)]
struct Listed {
    sub: String,
    name: String,
    email: String,
    token: String,
}

/// What `/api/me` says, as far as it matters here.
#[derive(Deserialize)]
struct Me {
    sub: String,
    tenants: Vec<MyTenant>,
}

#[derive(Deserialize)]
struct MyTenant {
    id: TenantId,
    suspended: bool,
    dashboards: Vec<DashboardSlug>,
}

impl Portal {
    /// Names below `localhost` are not known to every resolver, so this one is told here.
    pub(super) fn new(public_url: &PublicUrl) -> anyhow::Result<Self> {
        let origin = public_url.origin();
        let host = Url::parse(&origin)?.host_str().context("a public URL has a host")?.to_owned();
        let client = reqwest::Client::builder()
            .resolve(&host, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, origin })
    }

    /// The subject that a session's cookie belongs to; `None` when it belongs to nobody any more.
    pub(super) async fn subject_of(&self, cookie: &str) -> anyhow::Result<Option<String>> {
        let request = self.client.get(format!("{}/api/me", self.origin)).header("cookie", cookie);
        let answer = request.send().await?;
        Ok(if answer.status().is_success() { Some(answer.json::<Me>().await?.sub) } else { None })
    }

    async fn people(&self) -> anyhow::Result<Vec<Listed>> {
        let answer = self.client.get(format!("{}/mock/people", self.origin)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn me(&self, token: &str) -> anyhow::Result<Me> {
        let answer = self.client.get(format!("{}/api/me", self.origin)).bearer_auth(token).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}

/// A person who may open the dashboard for at least one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Player {
    pub(super) sub: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) tenants: Vec<TenantId>,
}

/// Who it is right now: places in [`Cast`].
#[derive(Debug, Clone, Copy)]
struct Turn {
    player: usize,
    tenant: usize,
}

/// Everybody who may open the dashboard, for every tenant that it may be opened for.
pub(super) struct Cast {
    pub(super) dashboard: DashboardSlug,
    pub(super) players: Vec<Player>,
    tenants: Vec<TenantId>,
    turn: Mutex<Turn>,
}

impl Cast {
    /// Asks the portal who may open the dashboard.
    pub(super) async fn gather(portal: &Portal, dashboard: &DashboardSlug) -> anyhow::Result<Self> {
        let mut players = Vec::new();
        for person in portal.people().await? {
            let me = portal.me(&person.token).await?;
            let is_open = |tenant: &MyTenant| !tenant.suspended && tenant.dashboards.contains(dashboard);
            let tenants: Vec<_> = me.tenants.into_iter().filter(is_open).map(|tenant| tenant.id).collect();
            if !tenants.is_empty() {
                players.push(Player { sub: person.sub, name: person.name, email: person.email, tenants });
            }
        }
        Self::of(dashboard.clone(), players)
    }

    fn of(dashboard: DashboardSlug, players: Vec<Player>) -> anyhow::Result<Self> {
        let mut tenants: Vec<_> = players.iter().flat_map(|player| player.tenants.clone()).collect();
        tenants.sort();
        tenants.dedup();
        if players.is_empty() {
            bail!(
                "nobody may open {dashboard}: a Tenant must name it under spec.dashboards, name somebody's e-mail address \
                 under spec.members, and that person must have the tenant among their tenant_ids (--people)"
            );
        }
        let cast = Self { dashboard, players, tenants, turn: Mutex::new(Turn { player: 0, tenant: 0 }) };
        cast.follow_player();
        Ok(cast)
    }

    /// Who it is now, and for which tenant.
    pub(super) fn now(&self) -> (Player, TenantId) {
        let turn = *self.turn();
        (self.players[turn.player].clone(), self.tenants[turn.tenant].clone())
    }

    /// The next tenant; the person stays where they may open that, and is otherwise the first who may.
    pub(super) fn next_tenant(&self) {
        let mut turn = self.turn();
        turn.tenant = (turn.tenant + 1) % self.tenants.len();
        let tenant = &self.tenants[turn.tenant];
        if !self.players[turn.player].tenants.contains(tenant) {
            let able = self.players.iter().position(|player| player.tenants.contains(tenant));
            turn.player = able.unwrap_or(turn.player);
        }
    }

    /// The next person; the tenant stays where they may open it.
    pub(super) fn next_player(&self) {
        {
            let mut turn = self.turn();
            turn.player = (turn.player + 1) % self.players.len();
        }
        self.follow_player();
    }

    fn follow_player(&self) {
        let mut turn = self.turn();
        let player = &self.players[turn.player];
        if !player.tenants.contains(&self.tenants[turn.tenant]) {
            let able = self.tenants.iter().position(|tenant| player.tenants.contains(tenant));
            turn.tenant = able.unwrap_or(turn.tenant);
        }
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(sub: &str, tenants: &[&str]) -> Player {
        let tenants = tenants.iter().map(|tenant| tenant.parse().unwrap()).collect();
        Player { sub: sub.into(), name: sub.into(), email: format!("{sub}@x.example"), tenants }
    }

    fn now(cast: &Cast) -> (String, String) {
        let (player, tenant) = cast.now();
        (player.sub, tenant.to_string())
    }

    #[test]
    fn nobody_ever_plays_for_a_tenant_that_is_not_theirs() {
        let players = vec![player("bob", &["globex"]), player("ana", &["acme", "globex"])];
        let cast = Cast::of("sales".parse().unwrap(), players).unwrap();
        assert_eq!(now(&cast), ("bob".into(), "globex".into()));
        cast.next_tenant();
        assert_eq!(now(&cast), ("ana".into(), "acme".into()), "the person follows the tenant");
        cast.next_player();
        assert_eq!(now(&cast), ("bob".into(), "globex".into()), "the tenant follows the person");
        cast.next_player();
        assert_eq!(now(&cast), ("ana".into(), "globex".into()), "the tenant stays where it can");
        for _ in 0..7 {
            cast.next_tenant();
            let (player, tenant) = cast.now();
            assert!(player.tenants.contains(&tenant));
        }
    }

    #[test]
    fn a_dashboard_that_nobody_may_open_is_a_sentence() {
        let Err(error) = Cast::of("sales".parse().unwrap(), Vec::new()) else { panic!("somebody may") };
        assert!(error.to_string().contains("spec.members"), "{error}");
    }
}
