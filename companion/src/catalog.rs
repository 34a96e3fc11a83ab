//! Catalogs: which operations of a product read and which write, as far as the method does not say it.
//!
//! Those of `policy/catalog/` are built in; a user's own file has the same form.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use quiesce_policy::{
    Policy,
    snapshot::{
        BodyProtocol, Catalog, CatalogName, Effect, HeaderCondition, Rule, Snapshot, Surface, SurfaceName,
        WriteKind,
    },
};
use serde::{Deserialize, Serialize};

macro_rules! built_in {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../policy/catalog/", $name, ".yaml")))),*]
    };
}

/// The files that are built in.
const BUILT_IN: [(&str, &str); 18] = built_in! {
    "chroma" "consul" "dynamodb" "elasticsearch" "etcd" "graphql" "kubernetes" "mcp" "meilisearch"
    "milvus" "openai" "opensearch" "pinecone" "qdrant" "s3" "typesense" "vault" "weaviate"
};

/// A catalog as its file has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogFile {
    /// What surfaces call it.
    pub name: CatalogName,
    /// What people call the product.
    pub title: String,
    /// The version of the API.
    pub version: String,
    /// Where the facts are from.
    pub source: Sources,
    /// What is known.
    pub rules: Vec<CatalogRule>,
}

/// One source or several.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Sources {
    /// An URL.
    One(String),
    /// URLs.
    Many(Vec<String>),
}

impl Sources {
    /// All of them.
    pub fn all(&self) -> Vec<&str> {
        match self {
            Self::One(source) => vec![source],
            Self::Many(sources) => sources.iter().map(String::as_str).collect(),
        }
    }
}

/// One line of a catalog.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogRule {
    /// Methods, or `*`, and a path: `POST|PUT /collections/{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// `package.Service/Method`, or `*` for all methods of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<String>,
    /// Query parameters; `*` stands for any value, or none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// A header; `*` stands for any value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, String>,
    /// What such a request does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// What kind of write it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<WriteKind>,
    /// The protocol of its body, which decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyProtocol>,
}

/// What is wrong with a catalog's file, where, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CatalogError(String);

/// All catalogs that surfaces may name.
#[derive(Clone, Debug)]
pub struct Catalogs(BTreeMap<CatalogName, CatalogFile>);

static BUILT_IN_CATALOGS: LazyLock<Result<Catalogs, CatalogError>> = LazyLock::new(|| {
    let mut catalogs = Catalogs(BTreeMap::new());
    for (name, yaml) in BUILT_IN {
        catalogs.add(CatalogFile::from_yaml(yaml, &format!("{name}.yaml (built in)"))?);
    }
    Ok(catalogs)
});

impl Catalogs {
    /// Those that are built in.
    pub fn built_in() -> Result<Self, CatalogError> {
        BUILT_IN_CATALOGS.clone()
    }

    /// Those that are built in and those of some files; one in a file takes the place of a built-in one.
    pub fn with_files<P: AsRef<Path>>(files: &[P]) -> Result<Self, CatalogError> {
        let mut catalogs = Self::built_in()?;
        for file in files {
            let origin = file.as_ref().display().to_string();
            let yaml = std::fs::read_to_string(file)
                .map_err(|error| CatalogError(format!("cannot read {origin}: {error}")))?;
            catalogs.add(CatalogFile::from_yaml(&yaml, &origin)?);
        }
        Ok(catalogs)
    }

    fn add(&mut self, catalog: CatalogFile) {
        self.0.insert(catalog.name.clone(), catalog);
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogFile> {
        self.0.values()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&CatalogFile> {
        self.0.get(&CatalogName::from(name))
    }

    /// As snapshots carry them: those that some surface names, and no others.
    pub fn named_by(&self, surfaces: &[Surface]) -> BTreeMap<CatalogName, Catalog> {
        let named = surfaces.iter().flat_map(|surface| &surface.catalogs);
        named.filter_map(|name| Some((name.clone(), self.0.get(name)?.catalog()))).collect()
    }
}

impl CatalogFile {
    /// Reads and checks a catalog; `origin` is what errors call it.
    pub fn from_yaml(yaml: &str, origin: &str) -> Result<Self, CatalogError> {
        let file: Self =
            crate::config::parse(yaml, origin).map_err(|error| CatalogError(error.to_string()))?;
        for (at, rule) in file.rules.iter().enumerate() {
            rule.rule().map_err(|(field, problem)| {
                CatalogError(format!("{origin}: rules[{at}].{field}: {problem}"))
            })?;
        }
        let surface =
            Surface { catalogs: vec![file.name.clone()], ..Surface::named(SurfaceName::from("catalog")) };
        let catalogs = [(file.name.clone(), file.catalog())].into_iter().collect();
        let snapshot = Snapshot { surfaces: vec![surface], catalogs, ..Snapshot::default() };
        Policy::compile(&snapshot).map_err(|error| CatalogError(format!("{origin}: {error}")))?;
        Ok(file)
    }

    /// As snapshots carry it.
    pub fn catalog(&self) -> Catalog {
        let rules = self.rules.iter().filter_map(|rule| rule.rule().ok()).collect();
        Catalog { version: self.version.clone(), rules }
    }
}

impl CatalogRule {
    /// As policy has it; the error is the field and what is wrong with it.
    fn rule(&self) -> Result<Rule, (&'static str, String)> {
        let (methods, path) = match (&self.request, &self.grpc) {
            (Some(request), None) => {
                request.split_once(' ').map(|(methods, path)| (methods, path.to_owned()))
            }
            (None, Some(grpc)) => Some(("POST", format!("/{}", grpc.replace("/*", "/{method}")))),
            _ => return Err(("request", "say one of `request` and `grpc`".to_owned())),
        }
        .ok_or_else(|| ("request", "write methods and path, such as `POST /things`".to_owned()))?;
        let methods: Vec<_> = methods.split('|').filter(|method| *method != "*").collect();
        let effect = match (self.effect, self.body) {
            (Some(effect), None) => effect,
            (None, Some(_)) => Effect::Write,
            _ => return Err(("effect", "say one of `effect` and `body`".to_owned())),
        };
        if self.kind.is_some() && effect == Effect::Read {
            return Err(("kind", "only writes are of a kind".to_owned()));
        }
        let mut headers = self.header.iter().map(|(name, value)| HeaderCondition {
            name: name.clone(),
            value: Some(value.clone()).filter(|value| value != "*"),
        });
        let header = headers.next();
        if headers.next().is_some() {
            return Err(("header", "only one header can be asked for".to_owned()));
        }
        Ok(Rule {
            header,
            query: self.query.clone(),
            kind: self.kind,
            body: self.body,
            ..Rule::new(&methods, &path, effect)
        })
    }
}

impl std::fmt::Display for CatalogRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.request, &self.grpc) {
            (Some(request), _) => f.write_str(request)?,
            (None, Some(grpc)) => write!(f, "grpc {grpc}")?,
            (None, None) => {}
        }
        self.query.iter().try_for_each(|(name, value)| write!(f, " ?{name}={value}"))?;
        self.header.iter().try_for_each(|(name, value)| write!(f, " {name}: {value}"))
    }
}
