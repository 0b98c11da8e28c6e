//! `portunus check`: every mistake of a configuration, with its place and what to write instead.

use crate::cli::ConfigArgs;
use crate::exit::{Exit, Failure};
use crate::out::Out;
use portunus_config::{Config, Loaded, Mistakes};
use serde_json::json;

/// Checks a file and says what it would start.
///
/// # Errors
/// [`Exit::Configuration`] with the number of mistakes, which are written out before.
pub fn check(args: &ConfigArgs, out: Out) -> Result<(), Failure> {
    let loaded = load(&args.config, out)?;
    let roles = roles(&loaded.config);
    out.say(format!("{}: good; starts {}", args.config.display(), roles.join(", ")));
    if out.json {
        let settings: serde_json::Map<String, serde_json::Value> = loaded
            .settings
            .iter()
            .map(|(k, s)| (k.clone(), json!({ "value": s.value, "live": s.live, "written": s.written })))
            .collect();
        out.machine(&json!({ "good": true, "roles": roles, "settings": settings, "mistakes": [] }));
    }
    Ok(())
}

/// Loads a file; its mistakes are written to standard output, a line each, or as one JSON value.
///
/// # Errors
/// [`Exit::Configuration`].
pub fn load(path: &std::path::Path, out: Out) -> Result<Loaded, Failure> {
    portunus_config::load(path).map_err(|Mistakes(found)| {
        for mistake in &found {
            out.say_under(4, mistake.to_string());
        }
        out.machine(&json!({ "good": false, "mistakes": found }));
        let n = found.len();
        let what = format!("{}: {n} mistake{}", path.display(), if n == 1 { "" } else { "s" });
        Failure::new(Exit::Configuration, what, "correct each place named above")
    })
}

/// The roles that a configuration starts.
pub fn roles(config: &Config) -> Vec<&'static str> {
    let all = [
        ("auc", config.auc.is_some()),
        ("softswitch", config.softswitch.is_some()),
        ("proxy", config.proxy.is_some()),
        ("agent", config.agent.is_some()),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}
