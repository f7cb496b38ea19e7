//! The whole configuration: what each module reads of it, and what is built from it.

use std::{collections::BTreeSet, slice, sync::Arc, time::Duration};

use crate::{
    config::{
        ConfigDocument, DeadLetterSettings, General, HttpSettings, Input, Public, SecretReader,
    },
    engine::{
        alert::HEARTBEAT,
        diagnostic::{Diagnostic, Place, code},
        dispatch::{DispatchPlan, InhibitRule, Route},
        settings::EngineSettings,
        time::WallTime,
        yaml::{SecretRef, Section},
    },
    file,
    kafka::Producer,
    notify::{self, BuildContext, Printer, ReceiverConfig, Receivers, print_to_stdout},
    server::{CallSlack, Credentials, ServerSettings, Slack, SlackApp, SlackCall},
    source::RecordReader,
    store::{
        dead_letter::{DeadLetterFiles, DeadLetterSink},
        dead_letter_topic::DeadLetterTopic,
    },
    telemetry::Metrics,
    web::{Access, AuthConfig, Certificate, SecretSource, TOKEN_BYTES_MIN},
};

use super::{
    canary::{self, Canary, CanarySettings, Flock},
    configured_source::{ConfiguredSource, parse_sources, takes_canary},
    contradictions,
    pipeline::NamedSource,
    reload::RuleFiles,
};

/// How often the alert that always fires is told again unless the configuration says otherwise: 1 min.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// A configuration that is correct in itself.
pub struct Configuration {
    /// What belongs to no other module.
    pub general: General,
    pub(super) sources: Arc<[ConfiguredSource]>,
    receivers: Vec<ReceiverConfig>,
    route: Route,
    inhibit: Vec<InhibitRule>,
    canary: Option<(CanarySettings, Arc<Flock>)>,
    /// Whether an alert always fires.
    pub has_heartbeat: bool,
    pub(super) secrets: SecretReader,
    /// SHA-256 of what was written, secrets masked.
    pub hash: String,
}

impl Configuration {
    /// Reads file, environment and overrides. Also returns warnings.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn read(input: &Input) -> Result<(Configuration, Vec<Diagnostic>), Vec<Diagnostic>> {
        let document = ConfigDocument::read(input)?;
        let secrets = document.secrets();
        document.parse(|root| Configuration::parse(root, &document, secrets))
    }

    /// As [`Configuration::read`], from a document. `None` if something that is needed is missing; then
    /// it was reported.
    pub fn parse(
        root: &Section<'_>,
        document: &ConfigDocument,
        secrets: SecretReader,
    ) -> Option<Configuration> {
        let general = General::parse(root, document.base());
        let mut sources = parse_sources(root);
        let mut receivers = notify::parse_receivers(root);
        let mut route = notify::parse_route(root, &receivers);
        let inhibit = notify::parse_inhibit_rules(root);
        let heartbeat = parse_heartbeat(root, &receivers);
        let has_heartbeat = heartbeat.is_some();
        let mut own: Vec<Route> = heartbeat.into_iter().collect();
        let canary =
            CanarySettings::parse(root).map(|settings| (settings, Arc::<Flock>::default()));
        if let Some((_, flock)) = &canary {
            own.push(canary::own_route(receivers.len()));
            receivers.push(canary::receiver(flock, root));
        }
        if let Some(route) = &mut route {
            route.routes.splice(0..0, own);
        }
        let general = general?;
        check_buttons(root, &general.http, &receivers);
        if let DeadLetterSettings::Topic(_) = &general.dead_letter
            && !sources.iter().any(|source| source.config.kafka().is_some())
        {
            let help = "name a `file` instead, or add a Kafka source";
            root.invalid("dead_letter", "a dead-letter topic needs a Kafka source", help);
        }
        if general.ledger.topic.is_some()
            && !sources.iter().any(|source| source.config.kafka().is_some())
        {
            let help = "leave `topic` out, or add a Kafka source";
            root.invalid("ledger", "the topic of the ledger needs a Kafka source", help);
        }
        if let Some((settings, _)) = &canary
            && !sources.iter().any(|source| takes_canary(source, settings))
        {
            let help = "`canary.source` names one, if it is not the first";
            root.invalid("canary", "the canary needs a Kafka source", help);
        }
        let canary_settings = canary.as_ref().map(|(settings, _)| settings);
        contradictions::check(root, &general, &mut sources, &receivers, canary_settings);
        let route = route?;
        let hash = document.hash();
        Some(Configuration {
            general,
            sources: sources.into(),
            receivers,
            route,
            inhibit,
            canary,
            has_heartbeat,
            secrets,
            hash,
        })
    }

    /// What the engine is told.
    pub fn engine_settings(&self) -> EngineSettings {
        let truths = self.sources.iter().flat_map(|source| {
            source.truth_for.iter().map(|cluster| (cluster.clone(), source.name.clone()))
        });
        EngineSettings {
            truths: truths.collect(),
            usage: self.general.ledger.usage,
            ..self.general.engine.settings()
        }
    }

    /// Names of the sources in `/readyz`.
    pub fn component_names(&self) -> Vec<String> {
        self.sources.iter().map(ConfiguredSource::component).collect()
    }

    /// What the dispatcher works from.
    pub fn dispatch_plan(&self) -> DispatchPlan {
        let inhibit = self.inhibit.clone();
        DispatchPlan { inhibit, ..notify::plan(&self.receivers, self.route.clone()) }
    }

    /// Tries every secret and certificate, and what is built from them, without keeping any.
    ///
    /// # Errors
    /// Those that cannot be read; if all can, what cannot be built. What Kafka alone would say of them is not known:
    /// a producer would call its brokers.
    pub fn check_secrets(&self) -> Result<(), Vec<Diagnostic>> {
        let problem = |why| Diagnostic::error_nowhere(code::RECEIVER_IMPOSSIBLE, why);
        let mut problems: Vec<Diagnostic> = self.unreadable().into_iter().map(problem).collect();
        if problems.is_empty() {
            problems.extend(self.build_server().err().unwrap_or_default());
            problems.extend(self.build_sources().err().unwrap_or_default());
            let built = self.receivers.iter().filter(|receiver| !receiver.writes_topic());
            let built = built.map(|receiver| {
                self.build_these(slice::from_ref(receiver), print_to_stdout(false))
            });
            problems.extend(built.filter_map(Result::err).flatten());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Secrets that cannot be read, each with why, and the files among them by name; certificates count as secrets.
    /// Blocks the thread for the disk.
    pub(super) fn unreadable(&self) -> BTreeSet<String> {
        let of_sources = self.sources.iter().flat_map(|source| source.config.secrets());
        let of_receivers = self.receivers.iter().flat_map(ReceiverConfig::secrets);
        let http = &self.general.http;
        let of_auth = http.auth.iter().flat_map(AuthConfig::secrets);
        let of_http = http.web.secrets().into_iter().chain(of_auth);
        let all = of_http.chain(of_sources).chain(of_receivers);
        let secrets = all.filter_map(|secret| self.secrets.read(&secret).err());

        let kafka = self.sources.iter().filter_map(|source| source.config.kafka());
        let files_of_sources = kafka.flat_map(|kafka| kafka.connection.files());
        let files = files_of_sources.chain(self.receivers.iter().flat_map(ReceiverConfig::files));
        let files = files.filter_map(|path| {
            let why = file::open(path.as_ref()).err()?;
            Some(format!("file {path}: {why}"))
        });
        secrets.chain(files).collect()
    }

    /// What others could guess of what lets people in, as warnings.
    pub fn weak_secrets(&self) -> Vec<Diagnostic> {
        let token = self.general.http.web.access.token();
        let found = token.and_then(|token| self.secrets.read(token).ok()).unwrap_or_default();
        let lines = found.lines().map(str::trim).filter(|line| !line.is_empty());
        let is_short = |line: &&str| line.len() < TOKEN_BYTES_MIN;
        let count = lines.filter(is_short).count();
        let title = format!(
            "http.bearer_token: {} shorter than {TOKEN_BYTES_MIN} characters, and can be guessed",
            if count == 1 { "a token is".to_owned() } else { format!("{count} tokens are") },
        );
        let warning = Diagnostic::warning_nowhere(code::WEAK_DOOR, title);
        (count > 0).then(|| warning.help("make one: `openssl rand -hex 32`")).into_iter().collect()
    }

    /// Builds all notifiers.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn build_receivers(&self, printer: Printer) -> Result<Receivers, Vec<Diagnostic>> {
        self.build_these(&self.receivers, printer)
    }

    fn build_these(
        &self,
        receivers: &[ReceiverConfig],
        printer: Printer,
    ) -> Result<Receivers, Vec<Diagnostic>> {
        let context = BuildContext {
            secret: self.secret_source(),
            external_url: self.general.http.external_url.clone(),
            printer,
        };
        notify::build(receivers, context)
    }

    /// Whom the HTTP server answers.
    ///
    /// # Errors
    /// A certificate or a secret that cannot be used.
    pub fn build_server(&self) -> Result<ServerSettings, Vec<Diagnostic>> {
        let http = &self.general.http;
        let read = self.secret_source();
        let failed = |why: String| {
            vec![Diagnostic::error_nowhere(code::SERVER_IMPOSSIBLE, format!("http.{why}"))]
        };
        let certificate = match &http.web.certificate {
            Some(config) => {
                let built = Certificate::build(config, Arc::clone(&read));
                Some(Arc::new(built.map_err(|why| failed(format!("tls.{why}")))?))
            }
            None => None,
        };
        let build = |auth| Credentials::build(auth, Arc::clone(&read)).map_err(failed);
        let credentials = http.auth.as_ref().map(build).transpose()?;
        let over_tls = |url: &String| url.starts_with("https://");
        Ok(ServerSettings {
            access: Access::build(&http.web.access, read).map_err(failed)?,
            credentials,
            is_for_anybody: false,
            is_secure: certificate.is_some() || http.external_url.as_ref().is_some_and(over_tls),
            certificate,
            hosts: http.hosts.clone(),
            health_is_public: http.public.contains(&Public::Health),
            metrics_are_public: http.public.contains(&Public::Metrics),
        })
    }

    /// The apps of Slack whose buttons are in messages.
    pub fn build_slack(&self) -> Slack {
        let read = self.secret_source();
        let apps = notify::slack_apps(&self.receivers).map(|(_, app)| {
            let signing_secret = app.signing_secret();
            let (app, read) = (Arc::new(app), Arc::clone(&read));
            let call: CallSlack = Arc::new(move |call| {
                let (app, read) = (Arc::clone(&app), Arc::clone(&read));
                Box::pin(async move {
                    match call {
                        SlackCall::Open { trigger, view } => app.open(&read, &trigger, &view).await,
                        SlackCall::Answer { url, text } => app.answer(&read, &url, &text).await,
                    }
                })
            });
            SlackApp { signing_secret, call }
        });
        Slack::new(apps.collect(), read)
    }

    /// Builds all sources; nothing is connected yet.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn build_sources(&self) -> Result<Vec<NamedSource>, Vec<Diagnostic>> {
        let (mut sources, mut problems) = (Vec::new(), Vec::new());
        let read = self.secret_source();
        for source in &*self.sources {
            match source.config.build(&read) {
                Ok(built) => sources.push(NamedSource {
                    name: source.name.clone(),
                    component: source.component(),
                    source: built,
                }),
                Err(problem) => problems.push(problem.at(&source.places.section)),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }

    /// Reads secrets as they are at each call.
    pub(super) fn secret_source(&self) -> SecretSource {
        let secrets = self.secrets.clone();
        Arc::new(move |secret| secrets.read(secret))
    }

    /// Opens what a source recorded between two times. Blocks the thread.
    ///
    /// # Errors
    /// If no source, or more than one, could be meant, or it cannot be read.
    pub fn history(
        &self,
        name: Option<&str>,
        from: Option<WallTime>,
        until: Option<WallTime>,
    ) -> Result<Box<dyn RecordReader>, String> {
        let is_meant = |source: &&ConfiguredSource| match name {
            Some(name) => source.name.as_deref() == Some(name),
            None => source.config.kafka().is_some(),
        };
        let mut meant = self.sources.iter().filter(is_meant);
        let source = match (meant.next(), meant.next(), name) {
            (Some(source), None, _) => source,
            (Some(_), Some(_), _) => {
                return Err("the configuration has several Kafka sources; name one".to_owned());
            }
            (None, _, Some(name)) => return Err(format!("there is no source `{name}`")),
            (None, _, None) => return Err("the configuration has no Kafka source".to_owned()),
        };
        let secret = |secret: &SecretRef| self.secrets.read(secret);
        match source.config.history(&secret, from, until) {
            Some(history) => history.map_err(|error| error.to_string()),
            None => Err(format!("{} cannot be read by time", source.component())),
        }
    }

    /// Makes other processes of the same stream stop, so that they let go of what they hold.
    ///
    /// # Errors
    /// If a source cannot be reached with its settings.
    pub fn take_over(&self, timeout: Duration) -> Result<(), Vec<Diagnostic>> {
        let secret = |secret: &SecretRef| self.secrets.read(secret);
        let taken = |source: &ConfiguredSource| source.config.take_over(&secret, timeout).err();
        let problems: Vec<Diagnostic> =
            self.sources.iter().filter_map(taken).map(|problem| *problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Where the rules are.
    pub fn rule_files(&self) -> RuleFiles {
        RuleFiles { directory: self.general.rules.clone(), has_canary: self.canary.is_some() }
    }

    /// What sends the end-to-end canary, if there is one.
    ///
    /// # Errors
    /// Why it cannot be sent.
    pub(super) fn build_canary(
        &self,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Canary>, Vec<Diagnostic>> {
        let Some((settings, flock)) = &self.canary else { return Ok(None) };
        let failed = |why: String| {
            vec![Diagnostic::error_nowhere(code::KAFKA_IMPOSSIBLE, format!("canary: {why}"))]
        };
        let mut sources = self.sources.iter().filter(|source| takes_canary(source, settings));
        let kafka = sources.find_map(|source| source.config.kafka());
        let kafka = kafka.ok_or_else(|| failed("there is no Kafka source".to_owned()))?;
        let opened = kafka.connection.open_to_renew(self.secret_source());
        let producer = opened.and_then(|opened| Producer::new(opened, &settings.topic));
        let producer = producer.map_err(failed)?;
        Ok(Some(Canary::new(settings.clone(), Arc::clone(flock), producer, Arc::clone(metrics))))
    }

    /// What copies the ledger to its topic, if it has one.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn build_ledger_topic(&self) -> Result<Option<Producer>, Vec<Diagnostic>> {
        let Some(topic) = &self.general.ledger.topic else { return Ok(None) };
        let producer = self.dead_letter_cluster().and_then(|cluster| Producer::new(cluster, topic));
        let failed = |why: String| {
            let what = format!("ledger.topic: {why}");
            vec![Diagnostic::error_nowhere(code::KAFKA_IMPOSSIBLE, what)]
        };
        producer.map(Some).map_err(failed)
    }

    /// Opens the place for records that cannot be decoded.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn build_dead_letters(&self) -> Result<Box<dyn DeadLetterSink>, Box<Diagnostic>> {
        let failed = |why: String| {
            Box::new(Diagnostic::error_nowhere(
                code::DEAD_LETTERS_IMPOSSIBLE,
                format!("dead_letter: {why}"),
            ))
        };
        match &self.general.dead_letter {
            DeadLetterSettings::Directory(directory) => {
                let files = DeadLetterFiles::open(directory).map_err(|e| failed(e.to_string()))?;
                Ok(Box::new(files))
            }
            DeadLetterSettings::Topic(topic) => {
                let connection = self.dead_letter_cluster().map_err(failed)?;
                let producer = Producer::new(connection, topic).map_err(failed)?;
                Ok(Box::new(DeadLetterTopic::new(producer)))
            }
        }
    }
}

/// Says what keeps buttons out of Slack's messages, or clicks on them from being heard.
fn check_buttons(root: &Section<'_>, http: &HttpSettings, receivers: &[ReceiverConfig]) {
    let users = http.auth.as_ref().map_or(0, |auth| auth.slack.len());
    let mut apps = notify::slack_apps(receivers);
    let Some((notifier, _)) = apps.next() else {
        if users > 0 {
            let title = "http.auth.slack: nothing in Slack can be clicked";
            let warning = Diagnostic::warning(code::BUTTONS_UNHEARD, root.place_of("http"), title);
            let help = "give the receiver with the bot token the `signing_secret` of its app";
            root.report(warning.help(help));
        }
        return;
    };
    let path = format!("{}.signing_secret", notifier.path);
    let warn = |title: String, help: &str| {
        let warning = Diagnostic::warning(code::BUTTONS_UNHEARD, notifier.place.clone(), title);
        root.report(warning.help(help));
    };
    let path_help = "Slack sends clicks to `<http.external_url>/slack/interactions`";
    match http.external_url.as_deref() {
        None => {
            warn(format!("{path}: there are no buttons without `http.external_url`"), path_help);
        }
        Some(url) if !notify::could_reach(url) => {
            warn(format!("{path}: there are no buttons, as Slack cannot reach {url}"), path_help);
        }
        Some(_) if users == 0 => {
            let help = "say who may: `http.auth: {slack: [{id: U012AB3CD, name: anna, roles: [responder]}]}`";
            warn(format!("{path}: whoever clicks a button is refused"), help);
        }
        Some(_) => {}
    }
}

/// Reads `heartbeat:`; the route on which it goes.
fn parse_heartbeat(root: &Section<'_>, receivers: &[ReceiverConfig]) -> Option<Route> {
    let section = root.has("heartbeat").then(|| root.section("heartbeat")).flatten()?;
    let help = "name the receiver that misses the alert when it no longer comes";
    let receiver = section.required_string("receiver", help);
    let interval = section.duration("interval").unwrap_or(HEARTBEAT_INTERVAL);
    if interval < Duration::from_secs(1) {
        let title = format!("{} is less than a second", section.path_of("interval"));
        section.invalid("interval", title, "leave it out for 1m");
    }
    let index = receiver.as_ref().and_then(|name| {
        let found = receivers.iter().position(|receiver| receiver.name == *name);
        if found.is_none() {
            let title = format!("there is no receiver `{name}`");
            let known: Vec<&str> = receivers.iter().map(|one| one.name.as_str()).collect();
            section.invalid("receiver", title, format!("receivers are: {}", known.join(", ")));
        }
        found
    });
    section.finish();
    Some(canary::route(HEARTBEAT, index?, interval))
}

/// Puts a problem that shows only when something is built where its section is.
trait At {
    fn at(self, place: &Place) -> Diagnostic;
}

impl At for Box<Diagnostic> {
    fn at(self, place: &Place) -> Diagnostic {
        let mut problem = *self;
        problem.place.get_or_insert_with(|| place.clone());
        problem
    }
}
