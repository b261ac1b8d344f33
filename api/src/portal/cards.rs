//! Tenants, dashboards and people as pages show them: from records to words. Pure.

use std::collections::HashSet;

use kyros_metadata::{DashboardRecord, Snapshot, TenantRecord};
use kyros_shared_config::{DashboardSlug, PublicUrl, TenantId};

use super::{branding::Colour, recent::Recent, theme::Theme};
use crate::{state::access_of, store::Session};

/// A tenant as pages show it.
pub(crate) struct TenantCard {
    pub(crate) id: TenantId,
    pub(crate) name: String,
    pub(crate) initials: String,
    /// An address, where the tenant has a logo.
    pub(crate) logo: Option<String>,
    pub(crate) suspended: bool,
    pub(crate) dashboards: usize,
    pub(crate) roles: String,
    pub(crate) last_used: bool,
}

impl TenantCard {
    fn of(record: &TenantRecord, roles: &[String], snapshot: &Snapshot) -> Self {
        Self {
            id: record.id.clone(),
            name: record.display_name.clone(),
            initials: initials(&record.display_name),
            logo: Some(record.branding.logo_url.clone()).filter(|url| !url.is_empty()),
            suspended: record.suspended,
            dashboards: openable(record, snapshot).count(),
            roles: roles.join(", "),
            last_used: false,
        }
    }

    /// The origin of a logo that lies elsewhere: nothing else of another host may appear on a page.
    pub(crate) fn logo_origin(&self) -> Option<String> {
        let url = url::Url::parse(self.logo.as_deref()?).ok().filter(|url| url.scheme() == "https")?;
        Some(url.origin().ascii_serialization())
    }
}

/// The tenants that a person may choose, the last used first, then by name.
pub(crate) fn tenants_of(session: &Session, snapshot: &Snapshot, recent: &Recent) -> Vec<TenantCard> {
    let access = access_of(&session.identity);
    let mut seen = HashSet::new();
    let mut cards: Vec<TenantCard> = session
        .identity
        .tenant_ids
        .iter()
        .filter(|id| seen.insert(*id))
        .filter_map(|id| snapshot.membership(&access, id))
        .map(|(record, roles)| TenantCard::of(record, &roles, snapshot))
        .collect();
    cards.sort_by_cached_key(|card| (recent.place_of_tenant(&card.id).unwrap_or(usize::MAX), card.name.to_lowercase()));
    if let Some(first) = cards.first_mut() {
        first.last_used = recent.place_of_tenant(&first.id).is_some();
    }
    cards
}

/// A dashboard as the gallery shows it.
pub(crate) struct DashboardCard {
    pub(crate) slug: DashboardSlug,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) recent: bool,
}

impl DashboardCard {
    /// Whether every word occurs in what the card says.
    pub(crate) fn matches(&self, query: &str) -> bool {
        let text = format!("{} {} {}", self.title, self.description, self.slug).to_lowercase();
        query.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }
}

/// What a tenant may open: what was opened lately first, then in the order of its resource.
pub(crate) fn dashboards_of(record: &TenantRecord, snapshot: &Snapshot, recent: &Recent) -> Vec<DashboardCard> {
    let mut cards: Vec<DashboardCard> = openable(record, snapshot)
        .map(|dashboard| DashboardCard {
            slug: dashboard.slug.clone(),
            title: dashboard.title.clone(),
            description: dashboard.description.clone(),
            recent: recent.place_of(&record.id, &dashboard.slug).is_some(),
        })
        .collect();
    cards.sort_by_key(|card| recent.place_of(&record.id, &card.slug).unwrap_or(usize::MAX));
    cards
}

fn openable<'a>(record: &'a TenantRecord, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a DashboardRecord> {
    record.dashboards.iter().filter_map(|slug| snapshot.dashboards.get(slug))
}

/// A demo person as the login page shows it.
pub(crate) struct PersonCard {
    pub(crate) sub: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) tenants: String,
}

/// What the bar above a tenant's pages holds.
pub(crate) struct Bar {
    pub(crate) tenant: TenantCard,
    /// The other tenants of the person.
    pub(crate) others: Vec<TenantCard>,
    pub(crate) dashboards: Vec<DashboardCard>,
    pub(crate) person: String,
    pub(crate) initials: String,
    pub(crate) csrf: String,
    pub(crate) theme: Theme,
    /// Where this page is, for coming back to it.
    pub(crate) here: String,
    /// When the session ends, for people and for programs.
    pub(crate) ends: String,
    pub(crate) seconds_left: i64,
}

/// What a bar is made from.
pub(crate) struct BarOf<'a> {
    pub(crate) session: &'a Session,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) recent: &'a Recent,
    pub(crate) theme: Theme,
    pub(crate) here: String,
    pub(crate) now: i64,
}

impl Bar {
    /// The bar of a tenant that the person is a member of.
    pub(crate) fn new(record: &TenantRecord, from: &BarOf<'_>) -> Option<Self> {
        let mut tenants = tenants_of(from.session, from.snapshot, from.recent);
        let own = tenants.iter().position(|card| card.id == record.id)?;
        let tenant = tenants.remove(own);
        let person = display_name(from.session);
        Some(Self {
            tenant,
            others: tenants,
            dashboards: dashboards_of(record, from.snapshot, from.recent),
            initials: initials(&person),
            person,
            csrf: from.session.csrf.clone(),
            theme: from.theme,
            here: from.here.clone(),
            ends: clock(from.session.expires_at),
            seconds_left: (from.session.expires_at - from.now).max(0),
        })
    }
}

/// What a session calls its person.
pub(crate) fn display_name(session: &Session) -> String {
    let identity = &session.identity;
    identity.name.clone().or_else(|| identity.email.clone()).unwrap_or_else(|| identity.subject.clone())
}

/// The first letters of the first two words.
fn initials(name: &str) -> String {
    name.split_whitespace().filter_map(|word| word.chars().next()).take(2).collect::<String>().to_uppercase()
}

fn clock(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
}

/// The colours of those tenants that the person may choose.
pub(crate) fn tenant_colours(cards: &[TenantCard], snapshot: &Snapshot) -> String {
    let rule = |card: &TenantCard| {
        let accent = &snapshot.tenants.get(&card.id)?.branding.accent_color;
        let colour = Colour::parse(accent).unwrap_or(Colour::DEFAULT);
        // A tenant's name is a DNS label and a colour is a colour: neither can end the rule.
        Some(format!(".t-{}{{--tenant:{colour};--on-tenant:{}}}\n", card.id, colour.text_on()))
    };
    cards.iter().filter_map(rule).collect()
}

/// Where a dashboard is shown from: its own origin, at the address that stands after the portal's own.
pub(crate) fn frame_address(public_url: &PublicUrl, host: &kyros_shared_config::DashboardHost, tail: &str) -> String {
    let slash = if tail.starts_with('/') { "" } else { "/" };
    format!("{}{slash}{tail}", public_url.dashboard_origin(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_those_of_the_first_two_words() {
        for (name, letters) in [("Acme Retail", "AR"), ("globex", "G"), ("Östen von Åland", "ÖV"), ("", "")] {
            assert_eq!(initials(name), letters);
        }
    }

    #[test]
    fn every_word_of_a_search_must_occur_somewhere() {
        let card = DashboardCard {
            slug: "clv".parse().unwrap(),
            title: "Customer Lifetime Value".into(),
            description: "What customers are worth".into(),
            recent: false,
        };
        assert!(card.matches("") && card.matches("VALUE customer") && card.matches("worth") && card.matches("clv"));
        assert!(!card.matches("customer risk"));
    }

    #[test]
    fn whatever_follows_a_dashboards_address_stays_on_its_own_origin() {
        let public_url: PublicUrl = "http://kyros.localhost:8080".parse().unwrap();
        let host =
            kyros_shared_config::DashboardHost { dashboard: "clv".parse().unwrap(), tenant: "acme".parse().unwrap() };
        for (tail, address) in [
            ("", "http://clv--acme.kyros.localhost:8080/"),
            ("?a=1", "http://clv--acme.kyros.localhost:8080/?a=1"),
            ("/x?a=1", "http://clv--acme.kyros.localhost:8080/x?a=1"),
            ("//evil.example", "http://clv--acme.kyros.localhost:8080//evil.example"),
            ("@evil.example", "http://clv--acme.kyros.localhost:8080/@evil.example"),
            (".evil.example", "http://clv--acme.kyros.localhost:8080/.evil.example"),
        ] {
            assert_eq!(frame_address(&public_url, &host, tail), address);
        }
    }
}
