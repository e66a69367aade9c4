//! Fields that mail programs, servers and gateways write, and that a contact must not read.

use super::{bob, carol, clean, head, mallory, own, text};

/// Each field with the fact that it would reveal.
const FOREIGN: &[(&str, &str)] = &[
    (
        "time zone and times",
        "Deferred-Delivery Delivery-Date Expires Expiry-Date Latest-Delivery-Time Original-Date Posted-Date Received-Date \
         Date-Received Reply-By Resent-Date X-Send-Later-At X-Send-Later-Recur X-Send-Later-Uuid X-Send-Later-Version \
         X-Original-Date X-Date X-Local-Time X-Timezone X-Creation-Date X-Scheduled-For X-Delivery-Time X-Postponed \
         X-Apple-Send-Later-Date NNTP-Posting-Date Injection-Date X-Mozilla-Draft-Info X-Evolution-Send-At Thread-Index \
         X-MS-Exchange-Organization-OriginalArrivalTime X-OriginalArrivalTime X-Arrival-Time X-QQ-STYLE X-Snoozed",
    ),
    (
        "other keys and identities",
        "OpenPGP X-PGP-Key X-PGP-Sig X-PGP-Fingerprint X-PGP-KeyID X-PGP-Universal X-GPG-Fingerprint X-GPG-Key X-GnuPG-Fingerprint \
         X-Public-Key X-Attached X-Key X-SMIME X-Hashcash Hashcash Autocrypt Autocrypt-Gossip Autocrypt-Draft-State \
         Autocrypt-Setup-Message Autocrypt-Prefer-Encrypt Encrypted Face X-Face X-Face-Type X-Image-Url BIMI-Selector BIMI-Indicator \
         X-Jabber-ID Jabber-ID X-ICQ X-ICQ-UIN X-AIM X-Yahoo-ID X-MSN X-Skype X-Phone X-Homepage X-URL X-URI X-WWW Organization \
         Organisation X-Organization X-Address X-Location X-GPS Geolocation X-vCard X-Twitter X-Blog X-Matrix",
    ),
    (
        "host, network address, login",
        "X-Host X-Login X-MIMETrack X-Originating-IP X-Originating-Host X-Originating-Email X-Originating-Client X-Client-IP \
         X-Client-Addr X-Client-Hostname X-ClientAddr X-Source X-Source-IP X-Source-Args X-Source-Dir X-Source-Host X-Source-Auth \
         X-Source-Cap X-Real-IP X-Forwarded-For X-Remote-IP X-Remote-Addr X-Remote-Host X-Sender-IP X-SenderIP X-IP X-HELO X-EHLO \
         X-Auth-ID X-Auth-User X-Authenticated-User X-Authenticated-Sender X-Authenticated-As X-Authentication-Warning \
         X-Authentication-Info X-Sender X-X-Sender X-Sender-ID X-User X-User-ID X-Username X-UserName X-UID X-Account X-Account-Key \
         X-AuthUser X-Complaints-To X-Abuse-Contact X-AntiAbuse X-Get-Message-Sender-Via X-WebMail-UserID X-PHP-Script \
         X-PHP-Originating-Script X-Mail-Host X-Machine X-Hostname X-Workstation X-Domain X-Server X-Envelope-From X-Envelope-To \
         X-Virtual-Server X-EN-UserInfo X-EN-AuthUser X-EN-OrigIP X-EN-OrigHost X-TM-AS-User X-Home X-PWD X-Path \
         NNTP-Posting-Host NNTP-Posting-User Injection-Info Path Xref X-Trace X-Posting-Host X-Return-Path X-Local-Domain",
    ),
    (
        "program and system",
        "User-Agent X-Mailer X-Newsreader X-MimeOLE X-Mimeole X-Operating-System X-OS X-Client X-Device X-Platform X-Agent \
         X-UserAgent X-User-Agent X-Library X-Mail-Client X-Mailer-Version X-MailerInfo X-Mailer-Info X-Enigmail-Version \
         X-Enigmail-Draft-Status X-PGP-Agent X-Correlation-ID X-Avast-Antivirus X-Antivirus X-Antivirus-Status X-AVG X-AVK-Virus-Check \
         X-Virus-Scanned X-Virus-Status X-Virus-Checker-Version X-Scanned-By X-Spam-Checker-Version X-Spam-Status X-Spam-Level \
         X-Spam-Flag X-Spam-Score X-Spam-Report X-Kaspersky X-KSE-AntiSpam-Info X-ESET X-ESET-AS X-Norton-AV X-Bitdefender-Scanner \
         X-GDATA X-Sophos-Antispam X-Cloudmark-Score X-Proofpoint-GUID X-Mimecast-Spam-Score X-Mimecast-MFC-PROC-ID \
         X-Barracuda-Connect X-Barracuda-Spam-Score X-IronPort-AV X-IronPort-Anti-Spam-Result X-SG-EID X-SES-Outgoing \
         X-Mailgun-Sid X-Mandrill-User X-MC-User X-Sendgrid-ID X-Postmark X-ProtonMail-Origin X-Pm-Origin X-Pm-Content-Encryption \
         X-Tutanota X-Zoho X-ZohoMail-Owner X-Ymail-OSG X-Yahoo-Newman-Id X-Yahoo-Newman-Property X-Gmail-Labels X-Gm-Message-State \
         X-GM-THRID X-GM-MSGID X-Google-DKIM-Signature X-Google-Smtp-Source X-Google-Original-From X-Google-Sender-Auth \
         X-Google-Sender-Delegation X-Goomoji-Source X-QQ-MIME X-QQ-Mailer X-QQ-mid X-QQ-SSF X-QQ-FEAT X-Coremail-Antispam X-Foxmail \
         X-Lotus-FromDomain X-Notes-Item X-KeepSent X-TNEF-Correlator X-Unity X-Mb X-SquirrelMail X-Roundcube X-RoundCube \
         X-Horde X-OX-Marker X-Open-Xchange X-Zimbra X-Nextcloud X-Nylas X-Superhuman-ID X-Superhuman-Draft-ID X-Readdle-Message-ID \
         X-Readdle-Spark X-Airmail X-Newton X-Mailspring X-Hey X-Canary X-FairEmail X-K9mail-Identity X-Delta-Version \
         X-Bat X-TheBat X-Pegasus X-PM-Encryptor X-Becky X-Eudora-Signature X-Persona X-Juno-Line-Breaks X-AOL-IP X-MB-Message-Type \
         X-Accept-Language Accept-Language Content-Language X-Language X-Locale X-Charset X-MS-Has-Attach X-MS-TNEF-Correlator \
         X-MS-Exchange-Organization-AuthAs X-MS-Exchange-CrossTenant-id X-Microsoft-Antispam X-Forefront-Antispam-Report \
         X-MSMail-Priority X-MS-Office365-Filtering-Correlation-Id X-EXCLAIMER-MD-CONFIG X-CodeTwo-MessageID",
    ),
    (
        "state of a mailbox or a draft",
        "Status X-Status X-Keywords X-UIDL X-IMAP X-IMAPbase X-Mozilla-Status X-Mozilla-Status2 X-Mozilla-Keys X-Mozilla-Altered \
         X-Mozilla-External-Attachment-URL X-Mozilla-Cloud-Part X-Identity-Key X-Mutt-References X-Mutt-Fcc X-Mutt-PGP X-Mutt-Mix \
         X-Evolution-Identity X-Evolution-Account X-Evolution-Transport X-Evolution-Fcc X-Evolution-Format X-Evolution-Source \
         X-Evolution-PostTo X-KMail-Identity X-KMail-Transport X-KMail-Fcc X-KMail-Dictionary X-KMail-Templates X-KMail-Link-Message \
         X-Sylpheed-Account-Id X-Claws-Account-Id X-Claws-End-Special-Headers X-Claws-Privacy-System X-Gnus-Mail-Source \
         X-Gnus-Article-Number X-Draft-From X-Draft-Info X-TUID X-Universally-Unique-Identifier X-Uniform-Type-Identifier \
         X-Apple-Auto-Saved X-Apple-Mail-Remote-Attachments X-Apple-Base-Url X-Apple-Windows-Friendly X-Label X-Labels X-Tags X-Folder \
         X-GMX-Folder X-Mail-Id X-Cal-Id X-Read-Flag Fcc X-Fcc Gcc X-Gcc Lines Bytes Content-Length X-RMAIL-ATTRIBUTES X-VM-v5-Data \
         X-Attachment-Id X-BeenThere X-Loop X-Kolab-Type Keywords Comments X-Note X-Template X-Forward-Of",
    ),
    (
        "other people, messages and ways",
        "Bcc Resent-Bcc X-Bcc Sender Resent-From Resent-To Resent-Cc Resent-Sender Resent-Reply-To Resent-Message-ID Return-Path \
         Delivered-To X-Delivered-To X-Original-To X-Forwarded-To X-Forwarded-Message-Id X-Forwarded-Encrypted Original-From \
         Original-To Original-Subject Original-Message-ID Original-Recipient Envelope-To Apparently-To X-Apparently-To X-RCPT-TO \
         Return-Receipt-To X-Confirm-Reading-To X-Return-Receipt-To Errors-To X-Errors-To Disposition-Notification-Options \
         Mail-Reply-To Followup-To Newsgroups Also-Control Supersedes Obsoletes Replaces Control Approved Archived-At Archive \
         List-Id List-Post List-Help List-Unsubscribe List-Unsubscribe-Post List-Subscribe List-Owner List-Archive Mailing-List \
         X-Mailing-List X-Mailman-Version X-List-Administrivia Feedback-ID X-Campaign X-Campaign-Id X-CSA-Complaints Precedence \
         X-Precedence X-Auto-Response-Suppress X-Autoreply X-Auto-Reply-From X-Thread-Id Thread-Topic Thread-Id X-Conversation-Id \
         X-In-Reply-To X-References X-Message-ID X-MessageID X-Message-Id-Hash X-Message-Flag X-Message-Info Message-Context \
         Received X-Received Received-SPF Authentication-Results ARC-Seal ARC-Message-Signature ARC-Authentication-Results \
         DKIM-Signature DomainKey-Signature X-DKIM X-SPF TLS-Required TLS-Report-Domain TLS-Report-Submitter VBR-Info \
         SIO-Label SIO-Label-History X400-Originator X400-Recipients X400-MTS-Identifier X400-Received X400-Content-Type \
         Sensitivity Incomplete-Copy Autoforwarded Autosubmitted Conversion Conversion-With-Loss DL-Expansion-History \
         Generate-Delivery-Report Prevent-NonDelivery-Report Originator-Return-Address Content-Identifier Content-Return \
         PICS-Label EDIINT-Features Eesst-Version MMHS-Primary-Precedence MT-Priority Solicitation HP-Outer Require-Recipient-Valid-Since \
         Downgraded-From Downgraded-To Delivered-By-The-Graces-Of X-Loop-Detect X-Archived-At X-No-Archive X-Archive \
         Content-Location Content-Base Content-Description Content-MD5 Content-Features Content-Duration Content-Alternative \
         Content-Class Content-Translation-Type Content-Return X-Content-Host Author Authors X-Author Contact X-Contact \
         Chat-Version Chat-Group-ID Chat-Group-Name Chat-User-Avatar Chat-Disposition-Notification-To Chat-Verified Chat-Edit \
         Chat-Delete Chat-Predecessor Secure-Join Secure-Join-Invitenumber Ephemeral-Timer In-Reply-To-Host Subject-Host",
    ),
];

#[test]
fn of_hundreds_of_fields_that_programs_write_none_leaves() {
    let mut tried = 0;
    for (what, names) in FOREIGN {
        for name in names.split_ascii_whitespace() {
            let value = "laptop.lan bobby@rune.internal Sat, 21 Nov 2026 02:00:00 +0100";
            for name in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                let message = format!("{name}: {value}\r\n{}{name}x: {value}\r\n\r\n{name}: body\r\n", head());
                assert_eq!(text(&message), format!("{}\r\n{name}: body\r\n", head()), "{what}: {name}");
            }
            let part = super::multipart("mixed", &[&format!("{name}: {value}\r\n\r\ntext")]);
            assert!(!text(&format!("{}{part}", head())).contains("laptop"), "{what}: {name} in a part");
            let inner = format!("Content-Type: message/rfc822\r\n\r\nFrom: x@y\r\n{name}: {value}\r\n\r\ntext");
            let inner = super::multipart("mixed", &[&inner]);
            assert!(!text(&format!("{}{inner}", head())).contains("laptop"), "{what}: {name} in a forwarded message");
            tried += 1;
        }
    }
    assert!(tried > 400, "{tried}");
}

/// The node shows petnames beside mail, and mail programs copy them into answers.
#[test]
fn a_display_name_that_is_a_petname_does_not_leave() {
    let (bob, carol) = (bob(), carol());
    for (written, sent) in [
        (format!("\"bobby\" <{bob}>"), format!("{bob}")),
        (format!("=?utf-8?q?b=6Fbby?= <{bob}>"), format!("{bob}")),
        ("bobby <bobby@rune.internal>".to_owned(), format!("{bob}")),
        (format!("{bob} (bobby)"), format!("{bob}")),
        (
            format!("caro <{carol}>, Robert <{bob}>,\r\n bobby <{carol}>"),
            format!("{carol}, Robert <{bob}>,\r\n bobby <{carol}>"),
        ),
    ] {
        for name in ["To", "Cc", "Reply-To", "Mail-Followup-To"] {
            let message = text(&format!("{}{name}: {written}\r\n\r\nx\r\n", head()));
            assert!(message.contains(&format!("\r\n{name}: {sent}\r\n")), "{name}: {written}: {message}");
        }
    }
    // The author's own name is no secret, and a forwarded message names people as little as an answer.
    assert!(text(&format!("{}\r\nx\r\n", head())).contains(&format!("From: Alice <{}>", own())));
    let stranger = "dan@example.org";
    for (fields, sent) in [
        (format!("From: \"bobby\" <{bob}>"), format!("From: {bob}")),
        // Received mail says what its author wrote.
        (format!("From: \"bobby\" <{bob}>\r\nX-Signed-From: Robert <{bob}>"), format!("From: Robert <{bob}>")),
        (format!("From: \"boss\" <{stranger}>\r\nX-Signed-From: {stranger}"), format!("From: {stranger}")),
    ] {
        let message = clean("mixed", &[&format!("Content-Type: message/rfc822\r\n\r\n{fields}\r\n\r\nx")]);
        assert!(message.contains(&format!("\r\n{sent}\r\n")), "{message}");
        assert!(!message.contains("bobby") && !message.contains("boss") && !message.contains("X-Signed"), "{message}");
    }
}

/// No mail may go to people who are blocked or wait for an answer, and they have petnames all the same.
#[test]
fn the_petname_of_somebody_to_whom_no_mail_may_go_does_not_leave() {
    let (bob, mallory) = (bob(), mallory());
    for written in [format!("\"pest\" <{mallory}>"), format!("{mallory} (PEST)"), format!("\"pest+x\" <{mallory}>")] {
        let message = text(&format!("{}To: {bob}\r\nCc: {written}\r\n\r\nx\r\n", head()));
        assert!(message.contains(&format!("\r\nCc: {mallory}\r\n")), "{written}: {message}");
        for kept in [String::new(), format!("X-Signed-From: {mallory}\r\n")] {
            let inner = format!("Content-Type: message/rfc822\r\n\r\nFrom: {written}\r\n{kept}\r\nx");
            let message = clean("mixed", &[&inner]);
            assert!(message.contains(&format!("\r\nFrom: {mallory}\r\n")), "{written}: {message}");
        }
    }
    // What they are called by others is no secret of the user's.
    let inner = format!("Content-Type: message/rfc822\r\n\r\nFrom: Mallory <{mallory}>\r\n\r\nx");
    assert!(clean("mixed", &[&inner]).contains(&format!("\r\nFrom: Mallory <{mallory}>\r\n")));
}
