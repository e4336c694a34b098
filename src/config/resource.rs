//! Whose telemetry it is.

use percent_encoding::percent_decode_str;

use super::Config;
use crate::otel::Resource;

/// `service.name` where the application gives none.
const DEFAULT_SERVICE_NAME: &str = "agno";

impl Config<'_> {
    /// Whose telemetry it is. `OTEL_SERVICE_NAME` wins over `OTEL_RESOURCE_ATTRIBUTES`, and each of its attributes
    /// over the file's; `instance_id` tells this sender from others of its service.
    pub fn resource(&self, instance_id: &str) -> Resource {
        let mut attributes = self.said_of_resource();
        for (name, value) in [("service.name", DEFAULT_SERVICE_NAME), ("service.instance.id", instance_id)] {
            default(&mut attributes, name, value);
        }
        attributes.sort();
        Resource { attributes }
    }

    /// The `job` that Prometheus makes of it. None: nobody said whose telemetry it is.
    pub fn job(&self) -> Option<String> {
        let said = self.said_of_resource();
        let of = |wanted: &str| said.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let name = of("service.name")?;
        Some(of("service.namespace").map_or(name.to_owned(), |space| format!("{space}/{name}")))
    }

    fn said_of_resource(&self) -> Vec<(String, String)> {
        let mut attributes: Vec<(String, String)> = Vec::new();
        let listed = self.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        for (place, entry) in listed.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
            let Some((key, value)) = entry.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
                let place = place + 1;
                tracing::warn!(place, "left out an entry of OTEL_RESOURCE_ATTRIBUTES that is not name=value");
                continue;
            };
            let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
            set(&mut attributes, key.trim(), value);
        }
        let service = self.flags.service_name.clone().or_else(|| self.get("OTEL_SERVICE_NAME"));
        if let Some(service) = service {
            set(&mut attributes, "service.name", service);
        }
        attributes.retain(|(_, value)| !value.is_empty());
        for (name, value) in self.attributes_of_file() {
            default(&mut attributes, name, value);
        }
        attributes
    }

    /// What the file says of everything around, as of the bridge itself: without what names the agents' service, and
    /// without what `OTEL_RESOURCE_ATTRIBUTES` says, for the SDK reads that itself.
    pub(super) fn surroundings(&self) -> Vec<(String, String)> {
        let listed = self.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let is_listed = |name: &str| {
            listed.split(',').any(|entry| entry.split_once('=').is_some_and(|(key, _)| key.trim() == name))
        };
        self.attributes_of_file()
            .filter(|(name, _)| !name.starts_with("service.") && !is_listed(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The attributes that the file says, those with keys of their own first.
    fn attributes_of_file(&self) -> impl Iterator<Item = (&str, &str)> {
        let owner = &self.file.sections.service;
        let keys = [
            ("service.name", &owner.name),
            ("service.namespace", &owner.namespace),
            ("deployment.environment.name", &owner.environment),
        ];
        let keys = keys.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        keys.chain(owner.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .filter(|(_, value)| !value.is_empty())
    }
}

/// What holds where nothing is said of it.
fn default(attributes: &mut Vec<(String, String)>, name: &str, value: &str) {
    if !attributes.iter().any(|(key, _)| key == name) {
        attributes.push((name.to_owned(), value.to_owned()));
    }
}

fn set(attributes: &mut Vec<(String, String)>, name: &str, value: String) {
    attributes.retain(|(key, _)| key != name);
    attributes.push((name.to_owned(), value));
}
