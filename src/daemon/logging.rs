//! What the daemon says about itself, on standard error. Normal running is silent; nothing that is logged
//! carries an address, a subject, a file name or a key.

use tracing_subscriber::EnvFilter;

/// What is logged unless `RUNEPEER_LOG` says otherwise (the syntax of tracing's EnvFilter).
const DEFAULT_FILTER: &str = "warn,runepeer=info";
/// Whatever is asked for: the view's database talks of its own files only.
const QUIET: &str = "sled=warn";

/// Starts logging to standard error. A second call changes nothing.
pub fn start() {
    let text = std::env::var("RUNEPEER_LOG").unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
    let filter = EnvFilter::try_new(format!("{text},{QUIET},{}", crate::net::tor::LOG_DIRECTIVES))
        .unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Already started, by another node of this process.
    let _ = subscriber.try_init();
}
