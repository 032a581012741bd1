"""Puts the logins of the database into the emulation of Secrets Manager, anew at each start: it keeps nothing."""

import json
import os

import boto3

LOGINS = {
    "db/migrate-credentials": ("postgres", "POSTGRES_PASSWORD"),
    "db/credentials": ("market_data_ingest", "INGEST_PASSWORD"),
    "db/api-credentials": ("market_data_api", "API_PASSWORD"),
}

client = boto3.client("secretsmanager")
for name, (user, password) in LOGINS.items():
    value = json.dumps({"DB_USERNAME": user, "DB_PASSWORD": os.environ[password]})
    try:
        client.create_secret(Name=name, SecretString=value)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=value)
    print(name)
