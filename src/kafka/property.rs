//! Names of the library's properties. Some have two, of which the one that is set last would win, and a map of
//! properties has no order: so each goes by one name here.

/// Other names, as Kafka's own clients have them or as earlier versions had, and the library's. Source: the
/// aliases of librdkafka's `CONFIGURATION.md`, as far as this build has their properties.
const ALIASES: [(&str, &str); 9] = [
    ("acks", "request.required.acks"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("retries", "message.send.max.retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
];

/// The one name that a property goes by.
pub(super) fn name_of(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn the_library_takes_both_names_for_one_property() {
        for (alias, name) in ALIASES {
            let mut config = ClientConfig::new();
            let value = match name {
                "request.required.acks" => "1",
                "compression.codec" => "zstd",
                "sasl.mechanisms" => "PLAIN",
                _ => "123456",
            };
            config.set(alias, value);
            let native = config.create_native_config().unwrap();
            assert_eq!(native.get(name).unwrap(), value, "{alias} is not {name}");
        }
    }
}
