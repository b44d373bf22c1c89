//! JSON Schemas of a folder, and checking against them.

use std::collections::BTreeMap;
use std::path::Path;

use jsonschema::{Registry, Validator};
use serde_json::Value;

/// Where schemas stand for each other: what they refer to is a relative name.
const BASE: &str = "file:///schema/";

/// The schemas of a folder, by file name without `.json`.
#[derive(Debug)]
pub struct Schemas(BTreeMap<String, Validator>);

impl Schemas {
    /// Reads a folder. Panics with the schema that is none.
    pub fn read(folder: &Path) -> Self {
        let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
        for path in std::fs::read_dir(folder).expect("a folder of schemas").map(|entry| entry.expect("an entry").path())
        {
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).expect("a schema");
                schemas.insert(name, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
            }
        }
        let uri = |name: &str| format!("{BASE}{name}.json");
        let registry = Registry::new().extend(schemas.iter().map(|(name, schema)| (uri(name), schema)));
        let registry =
            registry.and_then(jsonschema::RegistryBuilder::prepare).expect("schemas that refer to each other");
        let validator = |(name, schema): (&String, &Value)| {
            jsonschema::meta::validate(schema).unwrap_or_else(|e| panic!("{name}.json is no schema: {e}"));
            let options = jsonschema::draft202012::options().should_validate_formats(true).with_registry(&registry);
            let built = options.with_base_uri(uri(name)).build(schema);
            (name.clone(), built.unwrap_or_else(|e| panic!("{name}.json: {e}")))
        };
        Self(schemas.iter().map(validator).collect())
    }

    /// The names of the schemas.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Checks every JSON value of `output`; answers how many there are.
    #[track_caller]
    pub fn check(&self, name: &str, output: &str) -> usize {
        let validator = self.0.get(name).unwrap_or_else(|| panic!("there is no schema {name}.json"));
        let mut values = 0;
        for value in serde_json::Deserializer::from_str(output).into_iter::<Value>() {
            let value = value.unwrap_or_else(|e| panic!("{e} in: {output}"));
            let wrong: Vec<String> =
                validator.iter_errors(&value).map(|e| format!("at '{}': {e}", e.instance_path())).collect();
            assert!(wrong.is_empty(), "not as {name}.json says:\n{}\n{value:#}", wrong.join("\n"));
            values += 1;
        }
        values
    }
}
