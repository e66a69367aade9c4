//! `mail setup thunderbird`: writes the account into a profile while Thunderbird is closed.
//!
//! Thunderbird's account wizard is never used, because it asks servers on the internet about the address. The account
//! goes into `prefs.js`, where Thunderbird keeps accounts and their lists, so that accounts and changes made by hand
//! later stay. The settings that keep the profile quiet go into `user.js` between two marks; Thunderbird applies them
//! at each start. A profile that has other accounts only gets those of them that concern our mail.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use self::Preference::{Number, Text, Truth};
use super::Context;
use crate::control::reply::MailSettings;
use crate::control::{Code, Failure};

const BEGIN: &str = "// runepeer: begin (written by runepeer mail setup thunderbird)";
const END: &str = "// runepeer: end";
/// Far above the numbers that Thunderbird gives to accounts made by hand. Local Folders get the number before this one.
const NUMBER: u32 = 7863;

const NO_PROFILE: &str = "start Thunderbird once, enter nothing where it asks for an address, and close it with Ctrl+Q; or \
                          name the profile with --profile DIR";

pub(super) fn set_up(context: &Context, profile: Option<PathBuf>, settings: &MailSettings) -> Result<(), Failure> {
    let profile = match profile {
        Some(profile) => profile,
        None => default_profile()?,
    };
    if !profile.is_dir() {
        return Err(Failure::new(Code::NotFound, format!("there is no profile directory {}", profile.display()))
            .hint(NO_PROFILE));
    }
    if is_running(&profile) {
        return Err(Failure::new(Code::Busy, "Thunderbird is running with this profile")
            .hint("close Thunderbird, then try again: it would overwrite the settings when it ends"));
    }
    let cannot = |error: std::io::Error| {
        Failure::new(Code::Failed, format!("cannot write the profile {}: {error}", profile.display()))
    };
    let (prefs_js, user_js) = (profile.join("prefs.js"), profile.join("user.js"));
    let (prefs, user) = (read(&prefs_js).map_err(cannot)?, read(&user_js).map_err(cannot)?);
    let account = Account::new(settings);
    let alone = !has_others(&prefs, &account);
    replace(&prefs_js, &merge(&prefs, &account.preferences(&prefs))).map_err(cannot)?;
    replace(&user_js, &splice(&user, &lines(&quiet(alone)))).map_err(cannot)?;
    context.output.say("The account is in Thunderbird's profile. Next:");
    context.output.say("  1. runepeer mail password new thunderbird");
    context
        .output
        .say("  2. start Thunderbird; when it asks, give it that password, and again when you first send. Tick");
    context.output.say("     \"Use Password Manager to remember this password\" both times, or it asks at each start");
    context.output.say("  3. write to a contact as petname@rune.internal; runepeer contact list shows the petnames");
    if context.output.is_json() {
        context.output.object(&serde_json::json!({ "profile": profile.display().to_string() }));
    } else {
        context.output.data(profile.display().to_string());
    }
    Ok(())
}

fn read(file: &Path) -> std::io::Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// Replaces a file of the profile in one step: a crash leaves the old file or the new one.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let temporary = file.with_extension("js.runepeer");
    let mut options = fs::OpenOptions::new();
    let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    fs::rename(&temporary, file)
}

/// The profile that Thunderbird opens by itself: the `Default=` of an installation, the one marked as default, or the
/// only one.
fn default_profile() -> Result<PathBuf, Failure> {
    let root = std::env::home_dir().unwrap_or_default().join(".thunderbird");
    let ini = fs::read_to_string(root.join("profiles.ini")).unwrap_or_default();
    profile_of(&ini)
        .map(|profile| root.join(profile))
        .ok_or_else(|| Failure::new(Code::NotFound, "Thunderbird has no profile yet").hint(NO_PROFILE))
}

fn profile_of(ini: &str) -> Option<String> {
    let (mut section, mut path, mut marked, mut all) = ("", None, None, Vec::new());
    for line in ini.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            (section, path) = (name, None);
        } else if let Some(value) = line.strip_prefix("Default=") {
            if section.starts_with("Install") {
                return Some(value.to_owned());
            }
            if value == "1" {
                marked = marked.or_else(|| path.clone());
            }
        } else if let Some(value) = line.strip_prefix("Path=") {
            path = Some(value.to_owned());
            all.push(value.to_owned());
        }
    }
    marked.or_else(|| if all.len() == 1 { all.pop() } else { None })
}

/// Thunderbird's `lock` is a link to `address:+process`; a link that a crash left names a process that is gone.
fn is_running(profile: &Path) -> bool {
    let Ok(target) = fs::read_link(profile.join("lock")) else { return false };
    let target = target.to_string_lossy().into_owned();
    let Some((_, process)) = target.rsplit_once('+') else { return true };
    process.parse::<u32>().map_or(true, |process| Path::new(&format!("/proc/{process}")).exists())
}

fn splice(before: &str, block: &str) -> String {
    let ours = before.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = ours.unwrap_or((before, ""));
    let tail = tail.trim_start_matches('\n');
    let gap = if head.is_empty() || head.ends_with('\n') { "" } else { "\n" };
    format!("{head}{gap}{BEGIN}\n{block}{END}\n{tail}")
}

/// A value of a preference: text, number or truth.
enum Preference {
    Text(String),
    Number(u64),
    Truth(bool),
}

fn lines(preferences: &[(String, Preference)]) -> String {
    let mut lines = String::new();
    for (key, value) in preferences {
        let value = match value {
            Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Number(number) => number.to_string(),
            Truth(truth) => truth.to_string(),
        };
        let _ = writeln!(lines, "user_pref(\"{key}\", {value});");
    }
    lines
}

/// The text that `prefs.js` has for a preference; Thunderbird writes each preference on a line of its own.
fn text_of<'a>(prefs: &'a str, key: &str) -> Option<&'a str> {
    let start = format!("user_pref(\"{key}\", \"");
    prefs.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix("\");"))
}

/// `prefs.js` with new values for these preferences, and all others as they were.
fn merge(prefs: &str, preferences: &[(String, Preference)]) -> String {
    let ours: Vec<String> = preferences.iter().map(|(key, _)| format!("user_pref(\"{key}\",")).collect();
    let mut merged = String::new();
    for line in prefs.lines().filter(|line| !ours.iter().any(|start| line.starts_with(start))) {
        merged.push_str(line);
        merged.push('\n');
    }
    merged + &lines(preferences)
}

/// A list that contains this member; a new member is added at the end.
fn with_member(list: Option<&str>, member: &str) -> String {
    match list {
        Some(list) if list.split(',').any(|one| one.trim() == member) => list.to_owned(),
        Some(list) if !list.is_empty() => format!("{list},{member}"),
        _ => member.to_owned(),
    }
}

/// Whether the profile has an account of another mail service.
fn has_others(prefs: &str, ours: &Account) -> bool {
    let accounts = text_of(prefs, "mail.accountmanager.accounts").unwrap_or_default();
    accounts.split(',').filter(|account| !account.is_empty()).any(|account| {
        let server = text_of(prefs, &format!("mail.account.{}.server", account.trim())).unwrap_or_default();
        let of_server = |key: &str| text_of(prefs, &format!("mail.server.{server}.{key}"));
        of_server("type") != Some("none") && of_server("hostname") != Some(&ours.host)
    })
}

/// The settings of an identity's account, from the daemon.
struct Account {
    address: String,
    name: String,
    user: String,
    host: String,
    imap: u16,
    submission: u16,
}

impl Account {
    fn new(settings: &MailSettings) -> Self {
        let MailSettings { name, address, imap, submission } = settings.clone();
        Self { address, name, user: imap.user, host: imap.host, imap: imap.port, submission: submission.port }
    }

    /// The account's own number in this profile: the one it has, or the first that nothing uses.
    fn number(&self, prefs: &str) -> u32 {
        let is_ours = |n: u32| text_of(prefs, &format!("mail.server.server{n}.userName")) == Some(&self.user);
        let is_free = |n: u32| {
            let parts = ["account.account", "server.server", "identity.id", "smtpserver.smtp"];
            !parts.iter().any(|part| prefs.contains(&format!("user_pref(\"mail.{part}{n}.")))
        };
        (NUMBER..).find(|n| is_ours(*n) || is_free(*n)).unwrap_or(NUMBER)
    }

    /// The preferences that `prefs.js` still needs for the account.
    fn preferences(&self, prefs: &str) -> Vec<(String, Preference)> {
        let n = self.number(prefs);
        let (account, server, identity, smtp) =
            (format!("account{n}"), format!("server{n}"), format!("id{n}"), format!("smtp{n}"));
        let mut set = Vec::new();
        let mut accounts = with_member(text_of(prefs, "mail.accountmanager.accounts"), &account);
        // Without Local Folders, Thunderbird treats the profile as a new one.
        if text_of(prefs, "mail.accountmanager.localfoldersserver").is_none() {
            let (local, local_server) = (format!("account{}", NUMBER - 1), format!("server{}", NUMBER - 1));
            accounts = with_member(Some(&accounts), &local);
            set.extend(local_folders(&local, &local_server));
        }
        set.push(("mail.accountmanager.accounts".to_owned(), Text(accounts)));
        set.push(("mail.smtpservers".to_owned(), Text(with_member(text_of(prefs, "mail.smtpservers"), &smtp))));
        for (key, ours) in [("mail.accountmanager.defaultaccount", &account), ("mail.smtp.defaultserver", &smtp)] {
            if text_of(prefs, key).is_none_or(str::is_empty) {
                set.push((key.to_owned(), Text(ours.clone())));
            }
        }
        let identities = format!("mail.account.{account}.identities");
        set.push((format!("mail.account.{account}.server"), Text(server.clone())));
        set.push((identities.clone(), Text(with_member(text_of(prefs, &identities), &identity))));
        let below = |part: String| move |(key, value): (&str, Preference)| (format!("mail.{part}.{key}"), value);
        set.extend(self.server().into_iter().map(below(format!("server.{server}"))));
        set.extend(self.identity(smtp.clone()).into_iter().map(below(format!("identity.{identity}"))));
        set.extend(self.smtp().into_iter().map(below(format!("smtpserver.{smtp}"))));
        set
    }

    fn server(&self) -> Vec<(&'static str, Preference)> {
        vec![
            ("type", Text("imap".to_owned())),
            ("hostname", Text(self.host.clone())),
            ("port", Number(self.imap.into())),
            ("userName", Text(self.user.clone())),
            ("name", Text(self.address.clone())),
            ("authMethod", Number(3)),
            ("socketType", Number(0)),
            ("check_new_mail", Truth(true)),
            ("login_at_startup", Truth(true)),
            ("use_idle", Truth(true)),
            // The daemon is on this machine: a second copy of the mail, in the clear, would only be one more thing to
            // seize.
            ("offline_download", Truth(false)),
            ("autosync_offline_stores", Truth(false)),
            ("spamLevel", Number(0)),
            ("serverFilterName", Text(String::new())),
        ]
    }

    fn identity(&self, smtp: String) -> Vec<(&'static str, Preference)> {
        let folder = |name: &str| Text(format!("imap://{}@{}/{name}", self.user.replace('@', "%40"), self.host));
        vec![
            ("fullName", Text(self.name.clone())),
            ("useremail", Text(self.address.clone())),
            ("smtpServer", Text(smtp)),
            ("valid", Truth(true)),
            ("fcc_folder", folder("Sent")),
            ("draft_folder", folder("Drafts")),
            ("archive_folder", folder("Archive")),
            ("fcc_folder_picker_mode", Text("0".to_owned())),
            ("drafts_folder_picker_mode", Text("0".to_owned())),
            ("archives_folder_picker_mode", Text("0".to_owned())),
            // Mail is sealed already: a key of Thunderbird's own would only reveal more.
            ("autoEncryptDrafts", Truth(false)),
            ("sendAutocryptHeaders", Truth(false)),
            ("attachPgpKey", Truth(false)),
        ]
    }

    fn smtp(&self) -> Vec<(&'static str, Preference)> {
        vec![
            ("hostname", Text(self.host.clone())),
            ("port", Number(self.submission.into())),
            ("authMethod", Number(3)),
            ("try_ssl", Number(0)),
            ("username", Text(self.user.clone())),
            // Thunderbird names itself so in EHLO, instead of giving the name of the machine.
            ("hello_argument", Text("localhost".to_owned())),
        ]
    }
}

fn local_folders(account: &str, server: &str) -> Vec<(String, Preference)> {
    let of_server = |key: &str, value: &str| (format!("mail.server.{server}.{key}"), Text(value.to_owned()));
    vec![
        ("mail.accountmanager.localfoldersserver".to_owned(), Text(server.to_owned())),
        (format!("mail.account.{account}.server"), Text(server.to_owned())),
        of_server("type", "none"),
        of_server("hostname", "Local Folders"),
        of_server("name", "Local Folders"),
        of_server("userName", "nobody"),
    ]
}

/// Settings that keep Thunderbird from telling others about our mail. In a profile that is only for our mail, they also
/// keep it from opening pages and reporting home. Security updates and the lists of revoked certificates stay as they
/// are.
fn quiet(alone: bool) -> Vec<(String, Preference)> {
    let mut set = vec![
        ("mailnews.message_display.disable_remote_image", Truth(true)),
        ("mailnews.headers.sendUserAgent", Truth(false)),
        ("mail.collect_email_address_outgoing", Truth(false)),
        // Key look-up would tell strangers to whom the user writes.
        ("mail.openpgp.keyserver_list", Text(String::new())),
    ];
    if alone {
        set.extend([
            // If the account wizard is ever opened, it should reveal the address to as few servers as possible.
            ("mailnews.auto_config.guess.enabled", Truth(false)),
            ("mailnews.auto_config.fetchFromISP.enabled", Truth(false)),
            ("mailnews.auto_config.fetchFromExchange.enabled", Truth(false)),
            ("mailnews.auto_config_url", Text(String::new())),
            // Pages and notices from the internet: the start page, appeals for donations, the privacy policy.
            ("mailnews.start_page.enabled", Truth(false)),
            ("mail.inappnotifications.enabled", Truth(false)),
            ("mail.rights.override", Truth(true)),
            ("datareporting.policy.dataSubmissionEnabled", Truth(false)),
            ("datareporting.healthreport.uploadEnabled", Truth(false)),
            ("toolkit.telemetry.newProfilePing.enabled", Truth(false)),
            ("toolkit.telemetry.firstShutdownPing.enabled", Truth(false)),
            ("toolkit.telemetry.shutdownPingSender.enabled", Truth(false)),
            ("toolkit.telemetry.updatePing.enabled", Truth(false)),
            ("toolkit.telemetry.bhrPing.enabled", Truth(false)),
            // These ask strangers where the machine is, and whether it is online.
            ("browser.region.update.enabled", Truth(false)),
            ("browser.region.network.url", Text(String::new())),
            ("network.connectivity-service.enabled", Truth(false)),
            ("extensions.getAddons.cache.enabled", Truth(false)),
        ]);
    }
    set.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::reply::MailServer;

    fn account(user: &str) -> Account {
        let server = |port| MailServer { host: "127.0.0.1".to_owned(), port, user: user.to_owned() };
        let (name, address) = ("alice".to_owned(), user.to_owned());
        Account::new(&MailSettings { name, address, imap: server(1143), submission: server(1587) })
    }

    fn merged(prefs: &str, user: &str) -> String {
        merge(prefs, &account(user).preferences(prefs))
    }

    #[test]
    fn writing_twice_changes_nothing_else() {
        let block = lines(&quiet(true));
        let once = splice("user_pref(\"mine\", 1);", &block);
        assert_eq!(splice(&once, &block), once);
        assert!(once.starts_with("user_pref(\"mine\", 1);\n"));
        let more = format!("{once}user_pref(\"after\", 2);\n");
        assert_eq!(splice(&more, &block), more);
        // A block with only one of its marks is not ours.
        for torn in [format!("{END}\nmine\n{BEGIN}\n"), format!("mine\n{BEGIN}\n"), format!("{END}\nmine\n")] {
            assert_eq!(splice(&torn, "ours\n"), format!("{torn}{BEGIN}\nours\n{END}\n"));
        }

        let fresh = merged("", "alice@x.onion");
        assert!(!has_others(&fresh, &account("alice@x.onion")));
        let mut again: Vec<_> = merged(&fresh, "alice@x.onion").lines().map(str::to_owned).collect();
        let mut fresh: Vec<_> = fresh.lines().map(str::to_owned).collect();
        again.sort();
        fresh.sort();
        assert_eq!(again, fresh);
    }

    #[test]
    fn a_fresh_profile_has_the_account_and_local_folders() {
        let prefs = merged("", "alice@x.onion");
        assert_eq!(text_of(&prefs, "mail.accountmanager.accounts"), Some("account7863,account7862"));
        assert_eq!(text_of(&prefs, "mail.accountmanager.defaultaccount"), Some("account7863"));
        assert_eq!(text_of(&prefs, "mail.server.server7862.type"), Some("none"));
        assert_eq!(text_of(&prefs, "mail.identity.id7863.fcc_folder"), Some("imap://alice%40x.onion@127.0.0.1/Sent"));
        assert!(prefs.contains("user_pref(\"mail.server.server7863.port\", 1143);"));
    }

    #[test]
    fn other_accounts_and_their_servers_stay_as_they_are() {
        let prefs = "// Mozilla User Preferences\n\
            user_pref(\"mail.accountmanager.accounts\", \"account1,account2\");\n\
            user_pref(\"mail.accountmanager.defaultaccount\", \"account2\");\n\
            user_pref(\"mail.accountmanager.localfoldersserver\", \"server1\");\n\
            user_pref(\"mail.account.account1.server\", \"server1\");\n\
            user_pref(\"mail.account.account2.server\", \"server2\");\n\
            user_pref(\"mail.server.server1.type\", \"none\");\n\
            user_pref(\"mail.server.server2.hostname\", \"imap.example.org\");\n\
            user_pref(\"mail.server.server2.type\", \"imap\");\n\
            user_pref(\"mail.smtp.defaultserver\", \"smtp1\");\n\
            user_pref(\"mail.smtpservers\", \"smtp1\");\n";
        assert!(has_others(prefs, &account("alice@x.onion")));
        let after = merged(prefs, "alice@x.onion");
        assert_eq!(text_of(&after, "mail.accountmanager.accounts"), Some("account1,account2,account7863"));
        assert_eq!(text_of(&after, "mail.smtpservers"), Some("smtp1,smtp7863"));
        for line in prefs.lines().filter(|line| !line.contains("accounts\"") && !line.contains("smtpservers")) {
            assert_eq!(after.lines().filter(|one| *one == line).count(), 1, "{line}");
        }
        // Accounts that the user adds later stay, and a second identity of the daemon gets an account of its own.
        let later = after.replace("account1,account2,account7863", "account1,account2,account7863,account3");
        let second = merged(&merged(&later, "alice@x.onion"), "work@y.onion");
        let accounts = "account1,account2,account7863,account3,account7864";
        assert_eq!(text_of(&second, "mail.accountmanager.accounts"), Some(accounts));
        assert_eq!(text_of(&second, "mail.server.server7863.userName"), Some("alice@x.onion"));
        assert_eq!(text_of(&second, "mail.server.server7864.userName"), Some("work@y.onion"));
    }

    #[test]
    fn remote_content_and_key_lookup_are_off_and_other_accounts_keep_the_rest() {
        for alone in [true, false] {
            let block = lines(&quiet(alone));
            assert!(block.contains("user_pref(\"mailnews.message_display.disable_remote_image\", true);"));
            assert!(block.contains("user_pref(\"mail.openpgp.keyserver_list\", \"\");"));
            assert_eq!(block.contains("mailnews.start_page.enabled"), alone);
            assert_eq!(block.contains("auto_config"), alone);
        }
    }

    #[test]
    fn the_installations_default_profile_wins() {
        let ini = "[Profile0]\nPath=aaa.default\nDefault=1\n[InstallX]\nDefault=bbb.default-esr\n";
        assert_eq!(profile_of(ini).as_deref(), Some("bbb.default-esr"));
        assert_eq!(profile_of("[Profile0]\nPath=aaa.default\nDefault=1\n").as_deref(), Some("aaa.default"));
        assert_eq!(profile_of("[Profile0]\nPath=only\n").as_deref(), Some("only"));
        assert_eq!(profile_of("[Profile1]\nPath=one\n[Profile0]\nPath=other\n"), None);
        assert_eq!(profile_of(""), None);
    }

    #[test]
    fn a_stale_lock_does_not_count_as_running() {
        let profile = tempfile::tempdir().unwrap();
        assert!(!is_running(profile.path()));
        let lock = profile.path().join("lock");
        std::os::unix::fs::symlink(format!("127.0.0.1:+{}", std::process::id()), &lock).unwrap();
        assert!(is_running(profile.path()));
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink("127.0.0.1:+4294967290", &lock).unwrap();
        assert!(!is_running(profile.path()));
    }
}
