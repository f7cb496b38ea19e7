//! The ways in which audit events come: one line each in [`DECODERS`], of which documents are made.
//!
//! Most of them need no code of their own, for events are found by content wherever they are
//! ([`super::search`]). Those that do have a file each: they hold other logs too, or another format.

use std::fmt;

use super::{cloudwatch, event_hubs, gke, json::Json, otlp, otlp_proto::part, search::Members};

/// One way in which audit events come.
pub struct Envelope {
    /// Short name, snake_case.
    pub name: &'static str,
    /// What it is, and where the name of the cluster comes from. One or two sentences.
    pub summary: &'static str,
    /// One such record, for documents and tests; see [`Envelope::record`].
    pub example: &'static str,
    /// Whether an object is one, if it is told by the shape of an object.
    shape: fn(&Members<'_>) -> bool,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Envelope {
    /// Whether an object is one. Never of what is not told by the shape of an object.
    pub(super) fn is(&self, members: &Members<'_>) -> bool {
        (self.shape)(members)
    }

    /// An example of such a record around an event, which is one line of JSON.
    pub fn record(&self, event: &str) -> Vec<u8> {
        let quoted = |text: &str| {
            let text = serde_json::Value::from(text).to_string();
            text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or("").to_owned()
        };
        let text = quoted(event);
        let base64 = |bytes: &[u8]| {
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
        };
        let filled = self
            .example
            .replace("@EVENT@", event)
            .replace("@TEXT@", &text)
            .replace("@TEXT2@", &quoted(&text))
            .replace("@BASE64@", &base64(event.as_bytes()))
            .replace("@GZIP64@", &base64(&gzip(event.as_bytes())));
        if let Some(rest) = filled.strip_prefix("@UTF16@") {
            let units = rest.encode_utf16().flat_map(u16::to_le_bytes);
            return [0xFF, 0xFE].into_iter().chain(units).collect();
        }
        if let Some(rest) = filled.strip_prefix("@GZIP@") {
            return gzip(rest.as_bytes());
        }
        if let Some(rest) = filled.strip_prefix("@OTLP@") {
            return otlp_logs(rest);
        }
        filled.into_bytes()
    }
}

/// One member of gzip. Its checksum is left zero, as nobody who reads an example compares it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
    out.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    out.extend([0; 8]);
    out
}

/// A text as the body of a log record of OpenTelemetry, in protocol buffers.
fn otlp_logs(body: &str) -> Vec<u8> {
    // The text of a value; the body of a record; a record of a scope; a scope of a resource; a resource.
    let text = body.as_bytes().to_vec();
    [1, 5, 2, 2, 1].into_iter().fold(text, |content, field| part(field, &content))
}

/// Not told by the shape of an object.
const fn never(_: &Members<'_>) -> bool {
    false
}

/// Every way in, by name. No object is more than one of them, so the order does not matter.
pub const DECODERS: &[Envelope] = &[
    Envelope {
        name: "array",
        summary: "An array of events, of lists, of texts or of any envelope, on one line or with an \
                  entry a line.",
        example: "[@EVENT@]",
        shape: never,
    },
    Envelope {
        name: "base64",
        summary: "Base64 of JSON, also of compressed JSON, on one line or several.",
        example: "@BASE64@",
        shape: never,
    },
    Envelope {
        name: "cloudevents",
        summary: "CloudEvents as JSON: the event in `data` or `data_base64`.",
        example: r#"{"specversion":"1.0","type":"k8s.audit","source":"/cp-1","id":"1","time":"2026-01-05T22:14:01.131Z","cluster":"prod","data":@EVENT@}"#,
        shape: |members| {
            members.has("specversion") && (members.has("data") || members.has("data_base64"))
        },
    },
    Envelope {
        name: "cloudwatch",
        summary: "A CloudWatch Logs subscription (EKS), also compressed: events in \
                  `logEvents[].message`. The cluster comes from `logGroup`. Other logs of the control \
                  plane and test messages are passed over, and counted.",
        example: r#"{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/eks/prod/cluster","logStream":"kube-apiserver-audit-0123456789abcdef","logEvents":[{"id":"3195","timestamp":1767651241131,"message":"@TEXT@"}]}"#,
        shape: cloudwatch::is,
    },
    Envelope {
        name: "confluent",
        summary: "A serializer of Confluent's schema registry: JSON behind five bytes, or text behind \
                  five bytes and its length.",
        example: "\0\0\0\0\u{7}@EVENT@",
        shape: never,
    },
    Envelope {
        name: "container_log",
        summary: "A line as container runtimes write it: `<time> stdout F {…}`. What they split (`P`) is put \
                  together where the parts stand in one record, or in one file that Tripline reads.",
        example: "2026-01-05T22:14:01.131000000Z stdout F @EVENT@",
        shape: never,
    },
    Envelope {
        name: "debezium",
        summary: "A change of a row of a database: the event in `after`, with or without a schema.",
        example: r#"{"payload":{"before":null,"after":{"line":"@TEXT@","cluster":"prod"},"op":"c","ts_ms":1767651241131}}"#,
        shape: |members| {
            let has_after = |json: Json<'_>| json.get("after").is_some();
            members.has("op") && members.has("after")
                || !members.has("schema") && members.get("payload").is_some_and(has_after)
        },
    },
    Envelope {
        name: "docker_log",
        summary: "Docker's json-file log: the line under `log`, beside `stream` and `time`.",
        example: r#"{"log":"@TEXT@\n","stream":"stdout","time":"2026-01-05T22:14:01.131Z"}"#,
        shape: |members| members.has("log") && members.has("stream") && members.has("time"),
    },
    Envelope {
        name: "elasticsearch",
        summary: "A hit of a search, or a document of an export: the event anywhere in `_source`.",
        example: r#"{"_index":"audit","_id":"1","_source":{"@timestamp":"2026-01-05T22:14:01.131Z","kubernetes":{"audit":@EVENT@},"orchestrator":{"cluster":{"name":"prod"}}}}"#,
        shape: |members| members.has("_source"),
    },
    Envelope {
        name: "event",
        summary: "One audit event of the API server, as it writes it to its log: `{\"kind\":\"Event\",…}`. \
                  The cluster is a field `cluster` that a shipper added.",
        example: "@EVENT@",
        shape: never,
    },
    Envelope {
        name: "event_hubs",
        summary: "Azure diagnostic logs (AKS): events in `records[].properties.log`, as text or as they \
                  are. The cluster is the last part of `resourceId`, in lower case. Categories other than \
                  `kube-audit…` are passed over, and counted.",
        example: r#"{"records":[{"category":"kube-audit","operationName":"Microsoft.ContainerService/managedClusters/diagnosticLogs/Read","properties":{"log":"@TEXT@","stream":"stdout","pod":"kube-apiserver-0"},"resourceId":"/SUBSCRIPTIONS/0/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/PROD","time":"2026-01-05T22:14:01.1314Z"}]}"#,
        shape: event_hubs::is,
    },
    Envelope {
        name: "event_list",
        summary: "The body that the API server posts to a webhook: `{\"kind\":\"EventList\",\"items\":[…]}`.",
        example: r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[@EVENT@]}"#,
        shape: never,
    },
    Envelope {
        name: "filebeat",
        summary: "Filebeat and Elastic Agent with a JSON parser: the event under `kubernetes.audit` or \
                  `json`; dots in keys of annotations may be underscores. The cluster is \
                  `orchestrator.cluster.name` or `fields.cluster`.",
        example: r#"{"@timestamp":"2026-01-05T22:14:01.131Z","kubernetes":{"audit":@EVENT@},"orchestrator":{"cluster":{"name":"prod"}}}"#,
        shape: |members| {
            let has_audit = |json: Json<'_>| json.get("audit").is_some();
            members.get("kubernetes").is_some_and(has_audit)
                || members.has("@timestamp") && members.has("json")
        },
    },
    Envelope {
        name: "firehose",
        summary: "Amazon Data Firehose to an HTTP endpoint: Base64, also compressed, in \
                  `records[].data`.",
        example: r#"{"requestId":"r1","timestamp":1767651241131,"records":[{"data":"@GZIP64@"}]}"#,
        shape: |members| members.has("requestId") && members.has("records"),
    },
    Envelope {
        name: "flattened",
        summary: "The fields of the event beside each other, with their paths as keys: \
                  `kubernetes.audit.verb`.",
        example: r#"{"@timestamp":"2026-01-05T22:14:01.131Z","audit.auditID":"a","audit.stage":"Panic","audit.verb":"get","audit.stageTimestamp":"2026-01-05T22:14:01.131000Z","audit.user.username":"eve","cluster":"prod"}"#,
        shape: |members| members.ends_with(".auditID").is_some(),
    },
    Envelope {
        name: "fluent_bit",
        summary: "Fluent Bit and Fluentd: the line, or the event, under `log` or any other key. The \
                  cluster is what a filter adds as `cluster` or `cluster_name`.",
        example: r#"{"@timestamp":1767651241.131,"log":"@TEXT@","cluster":"prod"}"#,
        shape: |members| {
            members.has("log")
                && !members.has("stream")
                && !members.has("message")
                && !members.has("event")
                && !members.has("category")
        },
    },
    Envelope {
        name: "gke",
        summary: "A Cloud Logging entry (GKE), converted: who, what, where and the bodies are there; \
                  groups, `user.uid` and audit stages are not. The cluster is \
                  `resource.labels.cluster_name`. Entries of other services are passed over, and \
                  counted.",
        example: r#"{"insertId":"85371f7c","logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","authenticationInfo":{"principalEmail":"alice@example.com"},"methodName":"io.k8s.core.v1.pods.create","requestMetadata":{"callerIp":"203.0.113.7","callerSuppliedUserAgent":"kubectl/v1.33.0"},"resourceName":"core/v1/namespaces/shop/pods/web-0","serviceName":"k8s.io","status":{"code":0}},"resource":{"labels":{"cluster_name":"prod"},"type":"k8s_cluster"},"labels":{"authorization.k8s.io/decision":"allow"},"timestamp":"2026-01-05T22:14:01.131Z"}"#,
        shape: gke::is,
    },
    Envelope {
        name: "gzip",
        summary: "JSON that is compressed with gzip or zlib, also twice, also of several members. Files \
                  may be zstd too.",
        example: "@GZIP@@EVENT@",
        shape: never,
    },
    Envelope {
        name: "json_lines",
        summary: "Several events in one record, a line each or one after another.",
        example: "\n@EVENT@\n",
        shape: never,
    },
    Envelope {
        name: "json_string",
        summary: "A string of JSON with the event as text in it.",
        example: "\"@TEXT@\"",
        shape: never,
    },
    Envelope {
        name: "kafka_connect",
        summary: "Kafka Connect's JsonConverter with schemas: the line, or the event, in `payload`.",
        example: r#"{"schema":{"type":"string","optional":false},"payload":"@TEXT@"}"#,
        shape: |members| members.has("schema") && members.has("payload"),
    },
    Envelope {
        name: "kafka_rest",
        summary: "Batches of Kafka's REST proxy, and of Lambda functions: the event in \
                  `records[].value`, as it is, as text or as Base64.",
        example: r#"{"records":[{"key":null,"value":@EVENT@}]}"#,
        shape: |members| {
            let first = members.get("records").and_then(|records| records.items().next());
            !members.has("requestId") && first.is_some_and(|first| first.get("value").is_some())
        },
    },
    Envelope {
        name: "kinesis",
        summary: "Records of Kinesis, also as a Lambda function gets them: Base64 in `Data` or \
                  `kinesis.data`.",
        example: r#"{"Records":[{"eventSource":"aws:kinesis","kinesis":{"approximateArrivalTimestamp":1767651241.131,"data":"@BASE64@"}}]}"#,
        shape: |members| members.has("Records"),
    },
    Envelope {
        name: "kubectl_logs",
        summary: "Lines of `kubectl logs --timestamps --prefix`, of stern and of compose.",
        example: "[pod/kube-apiserver-cp-1/kube-apiserver] 2026-01-05T22:14:01.131000000Z @EVENT@",
        shape: never,
    },
    Envelope {
        name: "logstash",
        summary: "Logstash and other pipelines in ECS mode: the line in `event.original`.",
        example: r#"{"@timestamp":"2026-01-05T22:14:01.131Z","@version":"1","event":{"original":"@TEXT@"},"fields":{"cluster":"prod"}}"#,
        shape: |members| members.get("event").is_some_and(|event| event.get("original").is_some()),
    },
    Envelope {
        name: "loki",
        summary: "Loki's push and query formats: lines in `streams[].values`. The cluster is the label \
                  `cluster`.",
        example: r#"{"streams":[{"stream":{"job":"k8s-audit","cluster":"prod"},"values":[["1767651241131000000","@TEXT@"]]}]}"#,
        shape: |members| members.has("streams") || members.has("stream") && members.has("values"),
    },
    Envelope {
        name: "otlp",
        summary: "OpenTelemetry logs as `otlp_json`: the event as text, parsed or as bytes in the `body` \
                  of each log record, or as its attributes. The cluster is the resource attribute \
                  `k8s.cluster.name`.",
        example: r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"k8s.cluster.name","value":{"stringValue":"prod"}}]},"scopeLogs":[{"scope":{},"logRecords":[{"timeUnixNano":"1767651241131000000","body":{"stringValue":"@TEXT@"}}]}]}]}"#,
        shape: otlp::is,
    },
    Envelope {
        name: "otlp_proto",
        summary: "The same as `otlp_proto`, in protocol buffers, which is how OpenTelemetry's Kafka exporter \
                  writes unless told otherwise.",
        example: "@OTLP@@EVENT@",
        shape: never,
    },
    Envelope {
        name: "splunk_hec",
        summary: "Splunk's HTTP Event Collector: the event under `event`, as it is or as text. The \
                  cluster is `fields.cluster`.",
        example: r#"{"time":1767651241.131,"host":"cp-1","sourcetype":"kube:audit","event":@EVENT@,"fields":{"cluster":"prod"}}"#,
        shape: |members| {
            members.has("event")
                && (members.has("sourcetype")
                    || members.has("source")
                    || members.has("host") && members.has("time"))
        },
    },
    Envelope {
        name: "syslog",
        summary: "A line of syslog, RFC 3164 or RFC 5424: the event is its message.",
        example: "<134>1 2026-01-05T22:14:01.131Z cp-1 kube-apiserver 12 - - @EVENT@",
        shape: never,
    },
    Envelope {
        name: "utf16",
        summary: "Text in UTF-16, with its mark or without.",
        example: "@UTF16@@EVENT@",
        shape: never,
    },
    Envelope {
        name: "vector",
        summary: "Vector's file source, Filebeat without a parser, syslog collectors and others: the \
                  line under `message`. The cluster is what a transform adds as `cluster` or \
                  `cluster_name`, or what Filebeat knows as `orchestrator.cluster.name` or \
                  `fields.cluster`.",
        example: r#"{"file":"/var/log/kubernetes/audit/audit.log","host":"cp-1","message":"@TEXT@","source_type":"file","timestamp":"2026-01-05T22:14:01.400Z","cluster":"prod"}"#,
        shape: |members| members.has("message") && !members.has("messageType"),
    },
];

/// What an object is called, for people.
pub(super) fn name_of(members: &Members<'_>) -> Option<&'static str> {
    DECODERS.iter().find(|envelope| envelope.is(members)).map(|envelope| envelope.name)
}
