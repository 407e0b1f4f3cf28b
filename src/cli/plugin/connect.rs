//! The cluster, and the namespaces that are meant.

use super::error::Error;
use crate::cli::kubeconfig::KubeconfigArgs;
use crate::cli::login;
use clap::Args;
use kube::Client;
use retryable_tasks::core::why::as_argument;
use std::time::Duration;

/// Time to open a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Namespaces, separated by commas; that of the context if not given
    #[arg(long, short, global = true, value_delimiter = ',', value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(super) namespace: Vec<String>,

    /// All namespaces that you may see
    #[arg(long, short = 'A', global = true, conflicts_with = "namespace", help_heading = "Cluster")]
    all_namespaces: bool,

    #[command(flatten)]
    kubeconfig: KubeconfigArgs,
}

/// A cluster, and the namespaces that are meant.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) scope: Scope,
    /// The options by which a command that somebody copies means the same cluster and user, such as `--context prod`.
    pub(super) options: String,
}

/// Which namespaces are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Namespaces(Vec<String>),
}

impl Connection {
    /// That of the kubeconfig's current context.
    pub(super) fn of_context() -> Self {
        Self { namespace: Vec::new(), all_namespaces: false, kubeconfig: KubeconfigArgs::default() }
    }

    /// The contexts of the kubeconfig; none if it cannot be read.
    pub(super) fn contexts(&self) -> Vec<String> {
        self.kubeconfig.contexts()
    }

    /// The address of the API server; none if the kubeconfig cannot be read.
    pub(super) async fn server(&self) -> Option<String> {
        self.kubeconfig.config().await.ok().map(|config| config.cluster_url.to_string())
    }

    /// Reads the kubeconfig. Nothing is sent yet.
    pub(super) async fn connect(&self) -> Result<Cluster, Error> {
        let mut config = self.kubeconfig.config().await.map_err(Error::Config)?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        // What is retried, and for how long, is decided by each verb.
        config.default_retry = false;
        let named = self.named();
        let scope = match (self.all_namespaces, named.is_empty()) {
            (true, _) => Scope::All,
            (false, true) => Scope::Namespaces(vec![config.default_namespace.clone()]),
            (false, false) => Scope::Namespaces(named),
        };
        let program = config.auth_info.exec.clone();
        let failed = |error| Error::Config(login::problem(&error, program.as_ref()));
        let client = Client::try_from(config).map_err(failed)?;
        Ok(Cluster { client, scope, options: self.kubeconfig.options() })
    }

    /// The namespaces that are named, each once: `-n shop,shop` and `-n shop,` mean one.
    fn named(&self) -> Vec<String> {
        let mut named: Vec<String> = Vec::new();
        for namespace in self.namespace.iter().filter(|namespace| !namespace.is_empty()) {
            if !named.contains(namespace) {
                named.push(namespace.clone());
            }
        }
        named
    }
}

impl Cluster {
    /// The one namespace in which an object is named.
    pub(super) fn namespace(&self) -> Result<&str, Error> {
        match &self.scope {
            Scope::Namespaces(namespaces) if namespaces.len() == 1 => {
                Ok(namespaces.first().map(String::as_str).unwrap_or_default())
            }
            Scope::Namespaces(_) | Scope::All => {
                Err(Error::Usage("a name is that of one namespace: give that one with -n".into()))
            }
        }
    }

    /// An object of that name in a command that is copied.
    pub(super) fn as_argument(&self, name: &str) -> Result<String, Error> {
        Ok(as_argument(name, Some(self.namespace()?), &self.options))
    }

    /// Whether the namespace is worth a column.
    pub(super) fn has_many(&self) -> bool {
        !matches!(&self.scope, Scope::Namespaces(namespaces) if namespaces.len() == 1)
    }
}
