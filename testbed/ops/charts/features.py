"""What the rendering of each `ci/<feature>-values.yaml` must show, and how to find it there."""

import yaml

WORKER = "Deployment/r-ingest:spec.template.spec"
SERVER = "Deployment/r-api:spec.template.spec"
JOB = "Job/r-ingest-migrate:spec.template.spec"
SHA = "sha256:" + "a" * 64
TAG = "1.0.0-feature-x.dev.0123456789abcdef0123456789abcdef01234567"
CIDR = "to.0.ipBlock.cidr"


def both(chart, main):
    """What both charts must show."""
    container, env = f"{main}.containers.0", f"{main}.containers.0.env"
    monitor = f"ServiceMonitor/r-{chart}:"
    return {
        "image-digest": {f"{container}.image": f"docker.io/example/financial-data-{chart}@{SHA}"},
        "image-tag": {
            f"{container}.image": f"registry.example.com:5000/team/ticks:{TAG}",
            f"{container}.imagePullPolicy": "Always",
            f"{main}.imagePullSecrets.0.name": "registry-login",
        },
        "secret-env": {
            f"{env}.[FDA_DATABASE__URL].valueFrom.secretKeyRef": {"name": "database-login", "key": "url"},
            f"{env}.[RUST_BACKTRACE].value": "1",
            f"{env}.[NODE_NAME].valueFrom.fieldRef.fieldPath": "spec.nodeName",
        },
        "pod-identity": {
            f"{main}.serviceAccountName": "financial-data",
            f"ServiceAccount/r-{chart}:": None,
            f"{env}.[AWS_REGION].value": "eu-west-1",
        },
        "placement": {
            f"{main}.priorityClassName": "steady",
            f"{main}.nodeSelector": {"kubernetes.io/os": "linux"},
            f"{main}.tolerations.0.key": "dedicated",
            f"{main}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.0"
            ".matchExpressions.0.values": ["amd64", "arm64"],
            f"{main}.topologySpreadConstraints.0.maxSkew": 2,
            f"{main}.topologySpreadConstraints.1": None,
            f"PodDisruptionBudget/r-{chart}:spec.maxUnavailable": "25%",
        },
        "service-monitor": {
            f"{monitor}metadata.labels.release": "prometheus",
            f"{monitor}spec.endpoints.0.interval": "30s",
            f"{monitor}spec.endpoints.0.relabelings.0": {"targetLabel": "job", "replacement": chart},
        },
        "tracing": {f"{env}.[OTEL_EXPORTER_OTLP_ENDPOINT].value": "http://collector.observability:4318"},
        # The files themselves are compared below, in every rendering.
        "prometheus-rule": {f"PrometheusRule/r-{chart}-slo:metadata.labels.release": "prometheus"},
        "dashboards": {},
        "everything": {},
    }


FEATURES = {
    "ingest": both("ingest", WORKER)
    | {
        "names": {
            "Deployment/a-name-of-fifty-five-characters-which-is-the-longest-on:spec.template.metadata.labels"
            ".app%kubernetes%io/name": "ticks",
            "Job/a-name-of-fifty-five-characters-which-is-the-longest-on-migrate:spec.template.metadata.labels"
            ".team": "markets",
        },
        "config": {
            "config:ingest.batch.max_bytes": 16777216,
            "config:ingest.kafka.topics": {"ticks": "json", "Ticks-Avro": "avro"},
            "config:ingest.database.max_connections": 4,
            "config:ingest.log.format": "json",
            # A migration knows no other section.
            "config:ingest-migrate.kafka": None,
            "config:ingest-migrate.database.statement_timeout": "2m",
        },
        "irsa": {
            "config:ingest.database.secret": "db/credentials",
            "config:ingest-migrate.database.secret": "db/migrate-credentials",
            "ServiceAccount/r-ingest:metadata.annotations.eks%amazonaws%com/role-arn": "arn:aws:iam::111122223333:role/ingest",
            "ServiceAccount/r-ingest-migrate:metadata.annotations.eks%amazonaws%com/role-arn": "arn:aws:iam::111122223333:role/ingest-migrate",
            f"{JOB}.serviceAccountName": "r-ingest-migrate",
            f"{JOB}.containers.0.env.[AWS_REGION].value": "eu-west-1",
        },
        "tls": {
            f"{WORKER}.volumes.[ca-database].configMap": {"name": "database-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]},
            f"{WORKER}.volumes.[ca-kafka].secret": {"secretName": "kafka-ca", "items": [{"key": "tls-ca.pem", "path": "ca.crt"}]},
            f"{WORKER}.containers.0.env.[FDA_KAFKA__SSL_CA_FILE].value": "/etc/financial-data-ca/kafka/ca.crt",
            f"{WORKER}.volumes.[client-certificate].secret.secretName": "ingest-certificate",
            f"{WORKER}.containers.0.env.[FDA_KAFKA__SSL_KEY_FILE].value": "/etc/financial-data-client/tls.key",
            f"{WORKER}.containers.0.env.[FDA_KAFKA__SASL_PASSWORD].valueFrom.secretKeyRef.name": "kafka-login",
            f"{JOB}.volumes.[ca-database].configMap.name": "database-ca",
            # The migration does not talk to Kafka.
            f"{JOB}.containers.0.env": None,
        },
        "migrate": {
            "config:ingest-migrate.database.url": "postgres://primary.example.com:5432/financial_data",
            # The worker's secret would overrule the migration's login.
            "config:ingest-migrate.database.secret": None,
            f"{JOB}.containers.0.env.[FDA_DATABASE__URL].valueFrom.secretKeyRef.name": "migrate-login",
            f"{WORKER}.containers.0.env.[FDA_DATABASE__URL]": None,
            "Job/r-ingest-migrate:spec.backoffLimit": 1,
        },
        "migrate-off": {
            "Job/r-ingest-migrate:": None,
            "ServiceAccount/r-ingest-migrate:": None,
            "ConfigMap/r-ingest-migrate:": None,
        },
        "replicas": {"Deployment/r-ingest:spec.replicas": 12},
        "keda": {
            "Deployment/r-ingest:spec.replicas": None,
            "ScaledObject/r-ingest:spec.maxReplicaCount": 12,
            "ScaledObject/r-ingest:spec.scaleTargetRef.name": "r-ingest",
            "ScaledObject/r-ingest:spec.triggers.0.metadata": {
                "bootstrapServers": "a.example.com:9092,b.example.com:9092",
                "consumerGroup": "workers",
                "topic": "ticks",
                "lagThreshold": "12345678",
                "offsetResetPolicy": "earliest",
            },
            "ScaledObject/r-ingest:spec.triggers.0.authenticationRef": None,
        },
        "keda-sasl": {
            "ScaledObject/r-ingest:spec.maxReplicaCount": 6,
            "ScaledObject/r-ingest:spec.triggers.0.metadata.sasl": "scram_sha256",
            "ScaledObject/r-ingest:spec.triggers.0.metadata.tls": "enable",
            "ScaledObject/r-ingest:spec.triggers.0.metadata.topic": "ticks",
            "ScaledObject/r-ingest:spec.triggers.1.metadata.topic": "ticks-avro",
            "ScaledObject/r-ingest:spec.triggers.1.authenticationRef.name": "kafka",
        },
        "network-policy": {
            "NetworkPolicy/r-ingest:spec.policyTypes": ["Ingress", "Egress"],
            "NetworkPolicy/r-ingest:spec.ingress.0.from.0.namespaceSelector.matchLabels.kubernetes%io/metadata%name": "monitoring",
            "NetworkPolicy/r-ingest:spec.egress.0.to.0.podSelector.matchLabels.k8s-app": "kube-dns",
            f"NetworkPolicy/r-ingest:spec.egress.1.{CIDR}": "10.1.0.0/16",
            "NetworkPolicy/r-ingest:spec.egress.2.ports.1.port": 9094,
            f"NetworkPolicy/r-ingest:spec.egress.3.{CIDR}": "10.3.0.0/16",
            f"NetworkPolicy/r-ingest:spec.egress.4.{CIDR}": "10.4.0.0/16",
            f"NetworkPolicy/r-ingest:spec.egress.5.{CIDR}": "169.254.170.23/32",
            # No Kafka, no registry, nobody comes in.
            "NetworkPolicy/r-ingest-migrate:spec.policyTypes": ["Ingress", "Egress"],
            "NetworkPolicy/r-ingest-migrate:spec.ingress": None,
            f"NetworkPolicy/r-ingest-migrate:spec.egress.1.{CIDR}": "10.1.0.0/16",
            f"NetworkPolicy/r-ingest-migrate:spec.egress.2.{CIDR}": "10.4.0.0/16",
        },
    },
    "api": both("api", SERVER)
    | {
        "names": {
            "Deployment/a-name-of-fifty-five-characters-which-is-the-longest-on:spec.template.metadata.labels"
            ".app%kubernetes%io/name": "ticks",
            "Pod/a-name-of-fifty-five-characters-which-is-the-longest-on-test:metadata.labels.team": "markets",
        },
        "config": {
            "config:api.http.request_timeout": "20s",
            "config:api.log": {"format": "json", "filter": "api=debug,info"},
        },
        "irsa": {
            "config:api.database.secret": "db/api-credentials",
            "ServiceAccount/r-api:metadata.annotations.eks%amazonaws%com/role-arn": "arn:aws:iam::111122223333:role/api",
            f"{SERVER}.serviceAccountName": "r-api",
        },
        "tls": {f"{SERVER}.volumes.[ca-database].configMap.name": "database-ca"},
        "network-policy": {
            "NetworkPolicy/r-api:spec.policyTypes": ["Ingress", "Egress"],
            "NetworkPolicy/r-api:spec.ingress.0.from.0.podSelector.matchLabels.app%kubernetes%io/component": "test",
            "NetworkPolicy/r-api:spec.ingress.0.from.1.namespaceSelector.matchLabels.kubernetes%io/metadata%name": "ingress-nginx",
            "NetworkPolicy/r-api:spec.ingress.1.from.0.namespaceSelector.matchLabels.kubernetes%io/metadata%name": "monitoring",
            f"NetworkPolicy/r-api:spec.egress.1.{CIDR}": "10.1.0.0/16",
            f"NetworkPolicy/r-api:spec.egress.2.{CIDR}": "10.4.0.0/16",
            "NetworkPolicy/r-api:spec.egress.4": None,
        },
        "autoscaling": {
            "Deployment/r-api:spec.replicas": None,
            "HorizontalPodAutoscaler/r-api:spec.minReplicas": 3,
            "HorizontalPodAutoscaler/r-api:spec.maxReplicas": 20,
            "HorizontalPodAutoscaler/r-api:spec.scaleTargetRef.name": "r-api",
        },
        "ingress": {
            "Ingress/r-api:spec.ingressClassName": "nginx",
            "Ingress/r-api:spec.rules.0.host": "candles.example.com",
            "Ingress/r-api:spec.rules.0.http.paths.0.backend.service": {"name": "r-api", "port": {"name": "http"}},
            "Ingress/r-api:spec.tls.0.secretName": "candles-tls",
        },
        "http-route": {
            "HTTPRoute/r-api:spec.parentRefs.0.sectionName": "https",
            "HTTPRoute/r-api:spec.rules.0.backendRefs.0": {"name": "r-api", "port": 80},
        },
        "service": {
            "Service/r-api:spec.type": "LoadBalancer",
            "Service/r-api:spec.ports.0.port": 8080,
            "Pod/r-api-test:spec.containers.0.env.[BASE_URL].value": "http://r-api:8080",
        },
        "stop": {
            f"{SERVER}.containers.[nginx].lifecycle.preStop.sleep.seconds": 20,
            f"{SERVER}.containers.[api].lifecycle.preStop.sleep.seconds": 50,
            f"{SERVER}.terminationGracePeriodSeconds": 115,
        },
        "nginx": {
            f"{SERVER}.containers.[nginx].image": "edge:1.0.0",
            f"{SERVER}.containers.[nginx].env.[NGINX_TRUSTED_PROXIES].value": "10.0.0.0/8 fd00::/8",
            f"{SERVER}.containers.[nginx].env.[NGINX_RATE_LIMIT].value": "50r/s",
            f"{SERVER}.containers.[nginx].env.[NGINX_BURST].value": "20",
            f"{SERVER}.containers.[nginx].env.[NGINX_READ_TIMEOUT].value": "65s",
            f"{SERVER}.containers.[nginx].env.[NGINX_CACHE_SIZE].value": "1024m",
            f"{SERVER}.containers.[nginx].env.[NGINX_WORKERS].value": "4",
            f"{SERVER}.volumes.[nginx-state].emptyDir.sizeLimit": "1152Mi",
        },
        "test-symbol": {"Pod/r-api-test:spec.containers.0.env.[SYMBOL].value": "AMZN"},
    },
}


def find(docs, path):
    """`Kind/name:a.b.0.[name]`, with `%` for a dot within a key; None where there is nothing."""
    which, _, keys = path.partition(":")
    if which == "config":
        name, _, keys = keys.partition(".")
        which = f"ConfigMap/r-{name}"
    at = next((doc for doc in docs if f'{doc["kind"]}/{doc["metadata"]["name"]}' == which), None)
    if path.startswith("config:") and at:
        at = yaml.safe_load(at["data"]["config.yaml"])
    for key in filter(None, keys.split(".")):
        if at is None:
            return None
        if key.startswith("["):
            at = next((item for item in at if item["name"] == key[1:-1]), None)
        elif isinstance(at, list):
            at = at[int(key)] if int(key) < len(at) else None
        else:
            at = at.get(key.replace("%", "."))
    return at
