//! The table of raw requests: its format, its placeholders, its verdicts.

use super::*;

pub(super) struct Case {
    pub(super) line: usize,
    pub(super) name: String,
    /// The verdict as it is written, for people.
    pub(super) expected: String,
    /// Any of these sequences will do.
    pub(super) verdicts: Vec<Vec<Expected>>,
    pub(super) request: String,
    pub(super) sees: Vec<String>,
    pub(super) hides: Vec<String>,
}

pub(super) enum Expected {
    /// One whole request reaches the dashboard, the client gets its 200.
    Forward,
    /// Likewise, and the dashboard opens a socket.
    Upgrade,
    /// An answer of the sidecar's own: with a problem document of this code, or without one.
    Refused(u16, Option<String>),
    /// No whole request reaches the dashboard, and the client gets an error, this one if it is named, or no answer.
    Broken(Option<(u16, Option<String>)>),
    /// The connection ends without an answer.
    Closed,
}

impl Expected {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let refused = |text: &str| match text.split_once(':') {
            Some((status, code)) => Some((status.parse().ok()?, Some(code.to_owned()))),
            None => Some((text.parse().ok()?, None)),
        };
        match text {
            "forward" => Some(Self::Forward),
            "upgrade" => Some(Self::Upgrade),
            "closed" => Some(Self::Closed),
            "broken" => Some(Self::Broken(None)),
            _ => match text.strip_prefix("broken:") {
                Some(status) => Some(Self::Broken(Some(refused(status)?))),
                None => refused(text).map(|(status, code)| Self::Refused(status, code)),
            },
        }
    }

    pub(super) fn reaches_the_dashboard(&self) -> bool {
        matches!(self, Self::Forward | Self::Upgrade)
    }
}

pub(super) fn parse_table(table: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let (mut names, mut in_case) = (HashSet::new(), false);
    for (index, line) in table.lines().enumerate() {
        let number = index + 1;
        if let Some(title) = line.strip_prefix("=== ") {
            let (name, expected) = title.rsplit_once(" | ").unwrap_or_else(|| panic!("line {number}: no verdict"));
            assert!(names.insert(name), "line {number}: {name} is there twice");
            let parse = |text: &str| Expected::parse(text).unwrap_or_else(|| panic!("line {number}: {text}"));
            let verdicts = expected.split(" or ").map(|one| one.split_whitespace().map(parse).collect()).collect();
            cases.push(Case {
                line: number,
                name: name.to_owned(),
                expected: expected.to_owned(),
                verdicts,
                request: String::new(),
                sees: Vec::new(),
                hides: Vec::new(),
            });
            in_case = true;
        } else if line.is_empty() {
            in_case = false;
        } else if in_case && let Some(case) = cases.last_mut() {
            if let Some(text) = line.strip_prefix("sees: ") {
                case.sees.push(text.to_owned());
            } else if let Some(text) = line.strip_prefix("hides: ") {
                case.hides.push(text.to_owned());
            } else {
                assert!(!line.starts_with('#'), "line {number}: a comment inside of a case");
                case.request.push_str(line);
            }
        } else {
            assert!(line.starts_with('#'), "line {number}: neither a comment nor part of a case");
        }
    }
    for case in &cases {
        assert!(!case.request.is_empty() && !case.verdicts.iter().any(Vec::is_empty), "{} is empty", case.name);
    }
    cases
}

/// What the table's placeholders stand for.
pub(super) struct Tokens {
    pub(super) valid: String,
    pub(super) kid: String,
    pub(super) named: Vec<(&'static str, String)>,
}

impl Tokens {
    pub(super) fn new(issuer: &Issuer) -> Self {
        let valid = tenant_token(issuer, "s1", ("acme", "clv"), i64::MAX);
        let foreign = tenant_token(&Issuer::generate(ISSUER).unwrap(), "s1", ("acme", "clv"), i64::MAX);
        let person = Person { subject: "ana", email: "ana@acme.example", name: "Ana", groups: &[], tenant_ids: &[] };
        let [header, payload, signature] = parts_of(&valid);
        let other_tenant =
            String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap().replace("acme", "globex");
        let named = vec![
            ("token", valid.clone()),
            ("head", format!("Host: a\r\nAuthorization: Bearer {valid}\r\n")),
            ("handshake", HANDSHAKE.to_owned()),
            ("foreign", foreign),
            ("other", tenant_token(issuer, "s1", ("acme", "risk"), i64::MAX)),
            ("expired", tenant_token(issuer, "s1", ("acme", "clv"), 1)),
            ("user", issuer.user_token(&person).unwrap().token.expose().clone()),
            ("workload", issuer.workload_token("dashboard:clv").unwrap().token.expose().clone()),
            ("tampered", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other_tenant))),
            ("unsigned", format!("{header}.{payload}.")),
        ];
        Self { kid: issuer.kid().to_owned(), named, valid }
    }

    /// The bytes of a text of the table, cut where the client waits.
    pub(super) fn render(&self, text: &str) -> Vec<Piece> {
        let mut pieces = vec![Piece { after: Gap::Nothing, bytes: Vec::new() }];
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (bytes, length) = match first {
                '\\' => escape(rest),
                '{' => match self.placeholder(rest) {
                    Some((Stands::Gap(after), length)) => {
                        pieces.push(Piece { after, bytes: Vec::new() });
                        (Vec::new(), length)
                    }
                    Some((Stands::Bytes(bytes), length)) => (bytes, length),
                    // The brace of a JSON body.
                    None => (b"{".to_vec(), 1),
                },
                _ => (first.to_string().into_bytes(), first.len_utf8()),
            };
            pieces.last_mut().unwrap().bytes.extend(bytes);
            rest = &rest[length..];
        }
        pieces
    }

    pub(super) fn bytes(&self, text: &str) -> Vec<u8> {
        self.render(text).into_iter().flat_map(|piece| piece.bytes).collect()
    }

    /// What the placeholder at the start stands for, and its length.
    pub(super) fn placeholder(&self, text: &str) -> Option<(Stands, usize)> {
        let end = text.find('}')?;
        let (inner, length) = (&text[1..end], end + 1);
        let gap = match inner {
            "pause" => Some(Gap::Pause),
            "answer" => Some(Gap::Answer),
            "end" => Some(Gap::End),
            _ => None,
        };
        if let Some(gap) = gap {
            return Some((Stands::Gap(gap), length));
        }
        if let Some(repeated) = inner.strip_prefix("repeat:") {
            let (unit, times) = repeated.rsplit_once(':').unwrap();
            return Some((Stands::Bytes(self.bytes(unit).repeat(times.parse().unwrap())), length));
        }
        if let Some(members) = inner.strip_prefix("forged:") {
            let [_, payload, signature] = parts_of(&self.valid);
            let header = URL_SAFE_NO_PAD.encode(format!("{{{}}}", members.replace("KID", &self.kid)));
            return Some((Stands::Bytes(format!("{header}.{payload}.{signature}").into_bytes()), length));
        }
        let is_word = !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_lowercase());
        let value = self.named.iter().find(|(name, _)| *name == inner).map(|(_, value)| value.clone().into_bytes());
        assert!(value.is_some() || !is_word, "no placeholder is called {inner}");
        value.map(|value| (Stands::Bytes(value), length))
    }
}

pub(super) enum Stands {
    Bytes(Vec<u8>),
    Gap(Gap),
}

/// What a client sends at once.
pub(super) struct Piece {
    pub(super) after: Gap,
    pub(super) bytes: Vec<u8>,
}

/// What a client waits for before it sends a piece.
#[derive(Clone, Copy)]
pub(super) enum Gap {
    Nothing,
    Pause,
    /// One answer more.
    Answer,
    /// The client ends its side; there is nothing more to send.
    End,
}

pub(super) fn escape(text: &str) -> (Vec<u8>, usize) {
    let byte = match text.as_bytes()[1] {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => return (vec![u8::from_str_radix(&text[2..4], 16).unwrap()], 4),
        other => panic!("no escape is called {}", char::from(other)),
    };
    (vec![byte], 2)
}

pub(super) fn parts_of(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}
