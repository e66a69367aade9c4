//! The failures that people meet, each as `doctor` and `status` see it: what is wrong, and the sentence that cures it.

use std::path::PathBuf;

use super::judge::judge;
use super::look::{Answer, BoxSeen, Canary, Local, Open, Port, Seen, Settings, View};
use super::*;
use crate::base::{Timestamp, limits};
use crate::cli::absent::Absent;
use crate::cli::{queue, status};
use crate::control::reply::{
    BoxState, BoxStatus, Disk, IdentityStatus, LastBackup, Listen, Listeners, Network, QueuedKind, QueuedRecipient,
    RecipientState, Status, TRY_LATER, WrongPassword,
};

const NOW: &str = "2027-01-15T08:00:00Z";
const SINCE: &str = "2027-01-15T05:00:00Z";

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A node to which nothing is wrong.
fn well() -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: 4711,
        clock: NOW.to_owned(),
        clock_problem: None,
        identities: vec![IdentityStatus {
            requests: 0,
            introductions: 0,
            name: "alice".to_owned(),
            address: "alice@x.onion".to_owned(),
            reachable: true,
            listen: Listen::Always,
            problem: None,
            checked_at: text("2027-01-15T07:30:00Z"),
            contacts: 1,
        }],
        listen: Some(Listeners { imap: "127.0.0.1:1143".to_owned(), submission: "127.0.0.1:1587".to_owned() }),
        tor: Network { state: "ready".to_owned(), percent: 100, blocked_reason: None, gone_since: None },
        wrong_passwords: vec![],
        carrier: None,
        carriers: vec![],
        queue: vec![],
        backup: LastBackup { last: text(SINCE), verified: text(SINCE) },
        disk: Some(Disk { free: 1 << 40, low: false }),
        view_problem: None,
    }
}

/// What is seen beside it.
fn seen_beside() -> Local {
    let port = |what, setting, at: &str| Port { what, setting, at: at.to_owned(), answer: Answer::Greets };
    let now = Timestamp::parse_rfc3339(NOW).unwrap();
    Local {
        data: PathBuf::from("/home/a/data"),
        is_empty: false,
        now,
        newest: Some(now),
        open: vec![],
        foreign: vec![],
        settings: Settings::Fine,
        free: Some(1 << 40),
        view: View::Fine,
        ports: vec![
            port("IMAP", "listen.imap", "127.0.0.1:1143"),
            port("submission", "listen.submission", "127.0.0.1:1587"),
        ],
        passwords: vec![("alice".to_owned(), 1)],
        boxes: vec![BoxSeen { identity: "alice".to_owned(), status: home(), canary: Canary::Works }],
        backup: well().backup,
    }
}

fn home() -> BoxStatus {
    BoxStatus {
        name: "home".to_owned(),
        role: "box".to_owned(),
        onion: "y.onion".to_owned(),
        state: BoxState::Open,
        connected: true,
        check: None,
        check_error: None,
        contacts: 1,
        places: 64,
        contacts_without_place: 0,
        attempts: 0,
        failing_since: None,
        problem: None,
        next_at: None,
        last_error: None,
    }
}

fn waiting(error: &str) -> QueuedRecipient {
    QueuedRecipient {
        consent: Vec::new(),
        kind: QueuedKind::Mail,
        id: "1f".to_owned(),
        to: "bob".to_owned(),
        address: "bob@z.onion".to_owned(),
        state: RecipientState::Queued,
        custody: vec![],
        may_have_arrived: false,
        late: false,
        attempts: 3,
        failing_since: text(SINCE),
        submitted_at: SINCE.to_owned(),
        next_at: None,
        expires_at: "2027-01-20T05:00:00Z".to_owned(),
        ended_at: None,
        last_error: text(error),
        tokens_from: None,
    }
}

fn up(status: Status) -> Seen {
    Ok(Box::new(status))
}

/// The findings of one thing.
fn found(seen: &Seen, local: &Local, check: &str) -> Vec<Finding> {
    judge(seen, local).into_iter().filter(|finding| finding.check == check).collect()
}

/// The only finding of one thing, which is in this state and has these parts in its words.
fn says(seen: &Seen, local: &Local, check: &str, state: State, parts: &[&str]) {
    let found = found(seen, local, check);
    let [finding] = found.as_slice() else { panic!("{check}: {found:?}") };
    assert_eq!(finding.state, state, "{finding:?}");
    let words = finding.words();
    for part in parts {
        assert!(words.contains(part), "{words:?} lacks {part:?}");
    }
    assert_eq!(
        finding.cure.is_some(),
        state != State::Ok,
        "what is not well has a cure, and nothing else: {finding:?}"
    );
}

/// The words of `status`.
fn status_says(status: &Status, parts: &[&str]) {
    let words = status::standing(status);
    for part in parts {
        assert!(words.contains(part), "{words:?} lacks {part:?}");
    }
}

#[test]
fn where_nothing_is_wrong_everything_is_ok_in_one_line() {
    let findings = judge(&up(well()), &seen_beside());
    assert!(findings.iter().all(|finding| finding.state == State::Ok && finding.cure.is_none()), "{findings:?}");
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    let all = [
        "daemon",
        "directory",
        "config",
        "disk",
        "view",
        "clock",
        "tor",
        "address",
        "box",
        "tokens",
        "queue",
        "ports",
        "ports",
        "passwords",
        "backup",
    ];
    assert_eq!(checks, all);
    assert!(findings.iter().all(|finding| finding.words().lines().count() == 1));
    assert_eq!(Finding::failed("disk", "it is full\n", "make room").words(), "x  disk: it is full\n     make room");
    assert_eq!(Finding::failed("config", "a\nb\n", "mend it").words(), "x  config: a\n     b\n     mend it");
    assert_eq!(Finding::warning("disk", "it is full", "make room").words(), "!  disk: it is full\n     make room");
    assert_eq!(Finding::ok("disk", "there is room").words(), "ok disk: there is room");
}

#[test]
fn tor_that_is_blocked_is_said_with_its_reason_and_the_date_of_this_machine() {
    let reason = "Tor cannot reach its network: no relay answers; if Tor is blocked where you are, configure bridges";
    let tor = Network { state: "blocked".to_owned(), percent: 5, blocked_reason: text(reason), gone_since: None };
    let status = Status { tor, ..well() };
    status_says(&status, &[reason, &format!("this machine's clock says {NOW}")]);
    says(&up(status), &seen_beside(), "tor", State::Failed, &[reason, NOW, "bridges", "reach the internet"]);
}

#[test]
fn a_network_that_is_gone_is_said_with_its_time_and_what_becomes_of_mail() {
    let reason = format!("Tor's network has not answered since {SINCE}; check the network connection. Mail waits here");
    let tor =
        Network { state: "blocked".to_owned(), percent: 0, blocked_reason: text(&reason), gone_since: text(SINCE) };
    let mut status = Status { tor, ..well() };
    status.identities[0].reachable = false;
    status_says(&status, &[&reason, NOW, "alice: alice@x.onion (not reachable"]);
    let seen = up(status);
    says(&seen, &seen_beside(), "tor", State::Failed, &[&format!("gone since {SINCE}"), "goes on by itself"]);
    says(&seen, &seen_beside(), "address", State::Warning, &["while this node is not connected"]);
    // A box that was not tried says why.
    let untried = BoxSeen { identity: "alice".to_owned(), status: home(), canary: Canary::Untried };
    let local = Local { boxes: vec![untried], ..seen_beside() };
    says(&seen, &local, "box", State::Warning, &["not tried", "runepeer carrier check home"]);
    let tor = Network { state: "bootstrapping".to_owned(), percent: 40, blocked_reason: None, gone_since: None };
    says(&up(Status { tor, ..well() }), &seen_beside(), "tor", State::Warning, &["40 %", NOW, "wait a minute"]);
}

#[test]
fn status_says_how_many_people_wait_in_requests() {
    for (requests, words) in [(1, "somebody waits in the folder Requests"), (3, "3 people wait in the folder Requests")]
    {
        let mut status = well();
        status.identities[0].requests = requests;
        status_says(&status, &[words, "runepeer contact accept WHO"]);
    }
}

#[test]
fn a_clock_that_is_three_hours_off_is_said_with_how_to_set_it() {
    let skew =
        format!("Tor does not accept this machine's clock, which says {NOW} (slow by around 3h); set the right date");
    let tor = Network { state: "blocked".to_owned(), percent: 15, blocked_reason: text(&skew), gone_since: None };
    let status = Status { tor, clock_problem: text(&skew), ..well() };
    status_says(&status, &[&skew]);
    assert_eq!(status::standing(&status).matches(&skew).count(), 1, "it is said once");
    let seen = up(status);
    says(&seen, &seen_beside(), "clock", State::Failed, &["slow by around 3h", "timedatectl set-ntp true"]);
    says(&seen, &seen_beside(), "tor", State::Failed, &["timedatectl set-ntp true"]);
    // It is behind what was written.
    let behind = format!("this machine's clock says {NOW}, which is before 2027-01-15T11:00:00Z");
    let status = Status { clock_problem: text(&behind), ..well() };
    status_says(&status, &[&format!("clock: {behind}")]);
    says(&up(status), &seen_beside(), "clock", State::Warning, &[&behind, "set the right date"]);
    // A file is newer than the clock, with and without a daemon.
    let local = Local { newest: Timestamp::parse_rfc3339("2027-01-15T11:00:00Z"), ..seen_beside() };
    for seen in [up(well()), down("no daemon runs here", "start it with: runepeer up")] {
        says(&seen, &local, "clock", State::Warning, &[NOW, "2027-01-15T11:00:00Z", "timedatectl"]);
    }
    let corrected = Local { newest: Timestamp::parse_rfc3339("2027-01-15T08:05:00Z"), ..seen_beside() };
    says(&up(well()), &corrected, "clock", State::Ok, &[NOW]);
}

#[test]
fn what_is_put_off_and_what_expired_is_said_beside_the_date_of_this_machine() {
    let status = Status { queue: vec![waiting(TRY_LATER)], ..well() };
    status_says(&status, &[TRY_LATER, &format!("this machine's clock says {NOW}")]);
    says(&up(status), &seen_beside(), "queue", State::Warning, &[TRY_LATER, &format!("it says {NOW}")]);
    let expired = QueuedRecipient { state: RecipientState::Expired, last_error: None, ..waiting("") };
    assert!(queue::clock_matters(&[expired]));
}

fn down(found: &str, cure: &str) -> Seen {
    Err(Absent { found: found.to_owned(), cure: cure.to_owned() })
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let failed = "the last `runepeer up` failed at 2027-01-15T05:00:00Z: IMAP cannot listen on 127.0.0.1:1143";
    let seen = down(failed, "another program uses the port; choose another one with --imap 127.0.0.1:PORT");
    says(&seen, &seen_beside(), "daemon", State::Failed, &[failed, "choose another one"]);
    let mut local = seen_beside();
    (local.ports[0].answer, local.ports[1].answer) = (Answer::Taken, Answer::Free);
    let ports = found(&seen, &local, "ports");
    let (taken, free) = (ports[0].words(), ports[1].state);
    for part in ["x  ports: another program uses 127.0.0.1:1143", "ss -ltnp", "(listen.imap, port 0"] {
        assert!(taken.contains(part), "{taken}");
    }
    assert_eq!(free, State::Ok);
    // Of a daemon that runs.
    local.ports.truncate(1);
    local.ports[0].answer = Answer::Silent("connection refused".to_owned());
    says(&up(well()), &local, "ports", State::Failed, &["connection refused", "runepeer down, then runepeer up"]);
    local.ports[0].answer = Answer::Unusable("permission denied".to_owned());
    says(&seen, &local, "ports", State::Failed, &["permission denied", "listen.imap"]);
}

#[test]
fn a_box_whose_carrier_is_gone_says_since_when_and_what_that_means_for_mail() {
    let problem = format!("its carrier has not answered since {SINCE}: mail that lies there comes when it is back");
    let gone = BoxStatus { problem: text(&problem), connected: false, failing_since: text(SINCE), ..home() };
    status_says(&Status { carriers: vec![gone.clone()], ..well() }, &["box: home  open (not connected)", &problem]);
    let with = |status: &BoxStatus, canary| Local {
        boxes: vec![BoxSeen { identity: "alice".to_owned(), status: status.clone(), canary }],
        ..seen_beside()
    };
    let seen = up(well());
    let failed = Canary::Failed("their node does not answer".to_owned());
    says(&seen, &with(&gone, failed.clone()), "box", State::Failed, &[&problem, "carrier add", "carrier rm home"]);
    says(&seen, &with(&home(), failed), "box", State::Failed, &["nothing can be left there", "carrier check home"]);
    says(&seen, &with(&home(), Canary::Late), "box", State::Warning, &["within two minutes", "carrier check home"]);
    let preparing = BoxStatus { state: BoxState::Preparing, ..home() };
    says(&seen, &with(&preparing, Canary::Untried), "box", State::Warning, &["home: preparing", "carrier list"]);
    let none = Local { boxes: vec![], ..seen_beside() };
    says(&seen, &none, "box", State::Ok, &["none is rented", "waits at its senders"]);
}

#[test]
fn tokens_that_are_used_up_and_places_that_are_taken_are_said_with_what_comes_next() {
    let lacking =
        QueuedRecipient { tokens_from: text("2027-01-18T00:00:00Z"), ..waiting("their node does not answer") };
    let status = Status { queue: vec![lacking], ..well() };
    let part =
        "no token is left for their boxes (new ones count from 2027-01-18T00:00:00Z, or come with their next card)";
    status_says(&status, &[part]);
    let parts = ["no token is left for the boxes of bob", "from 2027-01-18T00:00:00Z", "their next card"];
    says(&up(status), &seen_beside(), "tokens", State::Warning, &parts);
    let full = BoxStatus { contacts_without_place: 2, ..home() };
    let boxes = vec![BoxSeen { identity: "alice".to_owned(), status: full.clone(), canary: Canary::Works }];
    let findings = found(&up(well()), &Local { boxes, ..seen_beside() }, "tokens");
    let words: String = findings.iter().map(Finding::words).collect();
    assert!(words.contains("all 64 places are taken, and 2 contacts have none") && words.contains("rent another box"));
    status_says(&Status { carriers: vec![full], ..well() }, &["all 64 places are taken", "rent another box"]);
}

#[test]
fn a_disk_that_is_full_says_how_much_room_is_needed() {
    let status = Status { disk: Some(Disk { free: 100 << 20, low: true }), ..well() };
    let enough = limits::ENOUGH_DISK_BYTES.div_ceil(limits::MIB as u64);
    let room = format!("make room until {enough} MiB are free on the file system of");
    status_says(&status, &["disk: nearly full (100 MiB free); no mail is taken", &room]);
    says(&up(status), &seen_beside(), "disk", State::Failed, &["100 MiB are free", &room, "/home/a/data"]);
    // Without a daemon the disk is looked at.
    let local = Local { free: Some(limits::ENOUGH_DISK_BYTES - 1), ..seen_beside() };
    let seen = down("no daemon runs", "start it");
    says(&seen, &local, "disk", State::Failed, &[&room]);
    says(&seen, &Local { free: Some(limits::ENOUGH_DISK_BYTES), ..seen_beside() }, "disk", State::Ok, &[]);
    says(&seen, &Local { free: None, ..seen_beside() }, "disk", State::Warning, &["not known"]);
}

#[test]
fn a_view_that_is_broken_may_be_deleted_and_one_that_is_made_anew_is_fine() {
    let problem = "the view, a copy of the mailbox for readers, cannot be used";
    let status = Status { view_problem: text(problem), ..well() };
    status_says(&status, &[problem]);
    let cure = ["is safe", "rm -r '/home/a/data/view'", "runepeer up"];
    says(&up(status), &seen_beside(), "view", State::Warning, &[&[problem], &cure[..]].concat());
    let seen = down("no daemon runs", "start it");
    let local = |view| Local { view, ..seen_beside() };
    says(&seen, &local(View::NoDirectory), "view", State::Warning, &cure);
    says(&seen, &local(View::Failed), "view", State::Ok, &["the next start makes it anew"]);
}

#[test]
fn a_wrong_passphrase_and_a_node_that_is_not_set_up_are_said_where_no_daemon_runs() {
    let failed = "the last `runepeer up` failed at 2027-01-15T05:00:00Z: the passphrase is wrong; nothing was changed";
    let seen = down(failed, "try again; it cannot be recovered if it is lost");
    says(&seen, &seen_beside(), "daemon", State::Failed, &["the passphrase is wrong", "try again"]);
    let findings = judge(&seen, &Local { is_empty: true, ..seen_beside() });
    assert_eq!(findings.len(), 1, "nothing else is said of a directory in which nothing is: {findings:?}");
}

#[test]
fn a_daemon_that_runs_is_named_with_how_to_stop_it() {
    status_says(&well(), &["process 4711", "runepeer down"]);
    says(&up(well()), &seen_beside(), "daemon", State::Ok, &["process 4711", "second `runepeer up`", "runepeer down"]);
    let older = Status { version: "0.0.1".to_owned(), ..well() };
    says(&up(older), &seen_beside(), "daemon", State::Warning, &["runepeer 0.0.1", "then runepeer up"]);
}

#[test]
fn a_configuration_that_is_broken_or_missing_is_said() {
    let local = |settings| Local { settings, ..seen_beside() };
    let broken = local(Settings::Broken("config.toml: line 3: unknown field".to_owned()));
    says(&up(well()), &broken, "config", State::Failed, &["line 3", "mend that in config.toml"]);
    says(&up(well()), &local(Settings::Missing), "config", State::Warning, &["missing or empty", "put it back"]);
}

#[test]
fn what_lies_open_to_others_is_named_with_the_command_that_closes_it() {
    let open = |path: &str, closed| Open { path: PathBuf::from(path), mode: closed | 0o055, closed };
    let local =
        Local { open: vec![open("/home/a/data", 0o700), open("/home/a/data/keys/node", 0o600)], ..seen_beside() };
    let parts = ["/home/a/data (mode 755) and 1 more", "doctor --fix", "chmod 700 '/home/a/data'"];
    says(&up(well()), &local, "directory", State::Failed, &parts);
    let foreign = Local { foreign: vec![PathBuf::from("/home/a/data/keys/node")], ..seen_beside() };
    says(&up(well()), &foreign, "directory", State::Failed, &["keys/node belongs to another user", "chown"]);
}

#[test]
fn an_address_that_nobody_reaches_says_why_and_since_when() {
    let with = |change: &dyn Fn(&mut IdentityStatus)| {
        let mut status = well();
        change(&mut status.identities[0]);
        up(status)
    };
    let local = seen_beside();
    says(&with(&|_| ()), &local, "address", State::Ok, &["descriptor", "2027-01-15T07:30:00Z"]);
    let old = with(&|alice| alice.checked_at = text("2027-01-15T06:59:59Z"));
    says(&old, &local, "address", State::Warning, &["long ago", "06:59:59Z"]);
    let cut = with(&|alice| (alice.reachable, alice.problem) = (false, text("nobody gets through to it since then")));
    says(&cut, &local, "address", State::Failed, &["nobody gets through", "published anew by itself"]);
    let new = with(&|alice| (alice.reachable, alice.checked_at) = (false, None));
    says(&new, &local, "address", State::Warning, &["not reachable yet", "wait two minutes"]);
    let hidden = with(&|alice| alice.listen = Listen::Never);
    says(&hidden, &local, "address", State::Ok, &["by its boxes only"]);
    let alone = with(&|alice| (alice.listen, alice.problem) = (Listen::Never, text("nobody can reach it")));
    says(&alone, &local, "address", State::Failed, &["carrier add", "--listen always"]);
}

#[test]
fn a_contact_that_is_off_is_named_with_what_becomes_of_mail() {
    let off = "their node does not answer; it is probably off";
    let queue = (0..7).map(|n| QueuedRecipient { to: format!("bob{n}"), ..waiting(off) }).collect();
    let status = Status { queue, ..well() };
    status_says(&status, &["7 waiting", off, &format!("since {SINCE}")]);
    let parts = ["7 waiting, 7 not yet through", off, SINCE, "bob4", "and 2 more", "runepeer queue retry"];
    says(&up(status), &seen_beside(), "queue", State::Warning, &parts);
    let fresh = QueuedRecipient { last_error: None, ..waiting("") };
    says(&up(Status { queue: vec![fresh], ..well() }), &seen_beside(), "queue", State::Ok, &["1 waiting, none failed"]);
}

#[test]
fn a_wrong_password_that_keeps_coming_is_said_with_its_times_and_what_to_do() {
    let sent = |identity: Option<&str>| WrongPassword {
        identity: identity.map(str::to_owned),
        times: 14,
        since: SINCE.to_owned(),
        last_at: NOW.to_owned(),
    };
    let parts = [&format!("14 times since {SINCE}, last at {NOW}"), "find the program that does not get in"];
    let stale = ["alice: a mail program keeps sending the same wrong password", "runepeer -i alice mail password new"];
    let nameless = ["user name that no identity here has", "set its user name: alice"];
    for (identity, more) in [(Some("alice"), stale), (None, nameless)] {
        let status = Status { wrong_passwords: vec![sent(identity)], ..well() };
        let parts = [&parts[..], &more].concat();
        status_says(&status, &parts);
        says(&up(status), &seen_beside(), "logins", State::Warning, &parts);
    }
}

#[test]
fn mail_programs_without_a_password_and_old_backups_are_said() {
    let none = Local { passwords: vec![("alice".to_owned(), 0)], ..seen_beside() };
    says(&up(well()), &none, "passwords", State::Warning, &["alice", "mail password new", "mail setup show"]);
    let with = |last: Option<&str>, verified: Option<&str>| {
        let verified = verified.map(str::to_owned);
        up(Status { backup: LastBackup { last: last.map(str::to_owned), verified }, ..well() })
    };
    let local = seen_beside();
    says(&with(None, None), &local, "backup", State::Warning, &["there is none", "backup create"]);
    says(&with(Some(SINCE), None), &local, "backup", State::Warning, &["never read again", "backup verify"]);
    let old = Some("2026-12-01T08:00:00Z");
    says(&with(old, old), &local, "backup", State::Warning, &["45 days old", "backup create"]);
    let nobody = Status { identities: vec![], listen: None, ..well() };
    let nobody = up(nobody);
    assert_eq!(found(&nobody, &local, "backup"), [], "a carrier without a mailbox needs none");
    assert_eq!(found(&nobody, &Local { boxes: vec![], ..local }, "box"), [], "and no box");
}
