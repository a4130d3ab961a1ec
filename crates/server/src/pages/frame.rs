//! What surrounds every page of somebody who is in: the way to the other pages, who they are, and what calls for them.

use tieline_store::alerts::{NotificationFilter, NotificationState};
use tieline_store::{Role, Uuid};

use super::Failed;
use super::visit::Visit;
use crate::cookies::Theme;

/// More than so many open notifications are not counted.
const COUNTED: u32 = 99;

/// A page of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    Connections,
    Mappings,
    Runs,
    Contacts,
    Leads,
    Imports,
    Duplicates,
    Alerts,
    Usage,
    Logs,
    Audit,
    Team,
    Keys,
    Settings,
    Help,
    /// A page that the menu does not lead to.
    Elsewhere,
}

/// Place, path, words, and the path of its icon in a square of 20.
type Line = (Place, &'static str, &'static str, &'static str);

/// What stands in the menu, by groups.
const MENU: &[(&str, &[Line])] = &[
    (
        "",
        &[
            (Place::Overview, "/", "Overview", "M3 10.5 10 4l7 6.5M5 9v7h3.5v-4h3v4H15V9"),
            (
                Place::Connections,
                "/connections",
                "Connections",
                "M7.5 12.5l5-5M9 6l1.5-1.5a3.5 3.5 0 0 1 5 5L14 11M11 14l-1.5 1.5a3.5 3.5 0 0 1-5-5L6 9",
            ),
        ],
    ),
    (
        "Sync",
        &[
            (Place::Mappings, "/mappings", "Mappings", "M4 6h4M12 6h4M8 6l4 8M4 14h4M12 14h4"),
            (Place::Runs, "/runs", "Runs", "M15.5 7A6 6 0 1 0 16 11M16 3.5V7.5h-4"),
        ],
    ),
    (
        "People",
        &[
            (
                Place::Contacts,
                "/contacts",
                "Contacts",
                "M4 4h12v12H4zM10 10a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6M7 13.6a3 3 0 0 1 6 0",
            ),
            (Place::Leads, "/leads", "Leads", "M10 10a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4M4 16.5a6 6 0 0 1 12 0"),
            (Place::Imports, "/imports", "Imports", "M10 3v9M6.5 8.5 10 12l3.5-3.5M4 16h12"),
            (Place::Duplicates, "/duplicates", "Duplicates", "M7 7V4h9v9h-3M4 7h9v9H4z"),
        ],
    ),
    (
        "Watch",
        &[
            (Place::Alerts, "/alerts", "Alerts", "M5.5 13.5V9a4.5 4.5 0 0 1 9 0v4.5l1.5 1H4zM8.5 17h3"),
            (Place::Usage, "/usage", "Health and usage", "M4 16V9M8 16V4M12 16v-6M16 16V7"),
            (Place::Logs, "/logs", "Logs", "M4 5h12M4 10h12M4 15h8"),
            (
                Place::Audit,
                "/audit",
                "Audit log",
                "M10 3l6 2.5v4c0 3.8-2.5 6.3-6 7.5-3.5-1.2-6-3.7-6-7.5v-4zM7.5 10l2 2 3.5-4",
            ),
        ],
    ),
    (
        "Manage",
        &[
            (
                Place::Team,
                "/team",
                "Team",
                "M7.5 9.5a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6M2.5 16a5 5 0 0 1 10 0M13 4.2a2.8 2.8 0 0 1 0 5M14 11.3a5 5 0 0 1 3.5 4.7",
            ),
            (
                Place::Keys,
                "/keys",
                "API keys",
                "M12.5 10.5a3.5 3.5 0 1 0-3.3-2.3L3.5 14v2.5H6V15h1.5v-1.5H9l1.6-1.6M13.2 6.8h.1",
            ),
            (Place::Settings, "/settings", "Settings", "M4 6h7M15 6h1M4 14h1M9 14h7M13 4v4M7 12v4"),
            (
                Place::Help,
                "/help",
                "Help",
                "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14M8 8a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.4M10 13.8h.1",
            ),
        ],
    ),
];

/// An entry of the menu.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) words: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) is_here: bool,
    /// What calls for somebody there.
    pub(crate) calls: usize,
}

/// Entries that belong together.
pub(crate) struct Group {
    pub(crate) words: &'static str,
    pub(crate) entries: Vec<Entry>,
}

/// Who is in.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
}

/// A business of theirs.
pub(crate) struct Business {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) is_this: bool,
}

/// It.
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) menu: Vec<Group>,
    /// None where there is no sign-in: whoever sits at this machine.
    pub(crate) person: Option<Person>,
    pub(crate) businesses: Vec<Business>,
    pub(crate) role: Role,
    pub(crate) csrf: String,
    pub(crate) theme: Theme,
    /// What was done on the way here.
    pub(crate) said: Option<&'static str>,
    /// Where the reader is, to come back to.
    pub(crate) path: String,
    /// It answers a form, and is not found at its address.
    pub(crate) answers: bool,
}

impl Frame {
    pub(super) async fn read(
        visit: &Visit,
        place: Place,
        title: String,
        said: Option<&'static str>,
    ) -> Result<Self, Failed> {
        let store = visit.service.store();
        let signed_in = visit.caller.signed_in().ok();
        let memberships = match signed_in {
            Some(signed_in) => store.memberships(signed_in.user.id).await?,
            None => Vec::new(),
        };
        let this = visit.caller.tenant.business();
        let businesses = memberships
            .iter()
            .map(|m| Business { id: m.business(), name: m.name().to_owned(), is_this: m.business() == this })
            .collect();
        let open = NotificationFilter { state: Some(NotificationState::Open), ..NotificationFilter::default() };
        let open = visit.caller.tenant.notifications(&open, None, COUNTED).await?.items.len();
        let entry = |(of, path, words, icon): &Line| Entry {
            path,
            words,
            icon,
            is_here: *of == place,
            calls: if *of == Place::Alerts { open } else { 0 },
        };
        let menu =
            MENU.iter().map(|(words, entries)| Group { words, entries: entries.iter().map(entry).collect() }).collect();
        Ok(Self {
            title,
            menu,
            person: signed_in
                .map(|signed_in| Person { name: signed_in.user.name.clone(), email: signed_in.user.email.clone() }),
            businesses,
            role: visit.caller.role,
            csrf: visit.csrf(),
            theme: visit.theme,
            said,
            path: visit.path.clone(),
            answers: visit.answers,
        })
    }

    /// The business that is shown.
    pub(crate) fn business(&self) -> &str {
        self.businesses.iter().find(|business| business.is_this).map_or("", |business| business.name.as_str())
    }

    /// Whether they may change what members may.
    pub(crate) fn may_change(&self) -> bool {
        self.role >= Role::Member
    }

    /// Whether they may change what admins may.
    pub(crate) fn may_administer(&self) -> bool {
        self.role >= Role::Admin
    }
}
