"""Reads `docker compose config --format json` and says which service may more than it should."""

import json
import sys

# LocalStack installs into its own file system.
WRITABLE = {"localstack"}
# It ends when the brokers do not take a message, and is started again: there is nothing to ask.
UNASKED = {"simulate"}
# Their health check is their image's.
ASKED_BY_IMAGE = {"ingest", "api", "nginx"}

faults = []
services = json.load(sys.stdin)["services"]
for name, service in services.items():
    def expect(what, holds, name=name):
        if not holds:
            faults.append(f"{name}: {what}")

    expect("read_only", service.get("read_only") is True or name in WRITABLE)
    expect("cap_drop", service.get("cap_drop") == ["ALL"] and not service.get("cap_add"))
    expect("no-new-privileges", service.get("security_opt") == ["no-new-privileges:true"])
    expect("a user by number, not root", name in WRITABLE or service.get("user", "0").split(":")[0] not in ("", "0"))
    expect("pids_limit", service.get("pids_limit", 0) > 0)
    expect("mem_limit", int(service.get("mem_limit", 0)) > 0)
    expect("not privileged", not any(service.get(key) for key in ("privileged", "network_mode", "pid", "ipc", "devices")))
    tag = service["image"].rpartition("/")[2].partition(":")[2]
    expect(f"a pinned image, not {service['image']}", tag not in ("", "latest"))
    for port in service.get("ports", []):
        expect(f"port {port['target']} on 127.0.0.1", port.get("host_ip") == "127.0.0.1")
    for volume in service.get("volumes", []):
        expect(f"{volume['target']} mounted read-only", volume["type"] != "bind" or volume.get("read_only") is True)
    check = service.get("healthcheck", {})
    if service.get("restart") != "no":
        asked = bool(check.get("test")) and not check.get("disable")
        expect("a health check", asked or name in ASKED_BY_IMAGE | UNASKED)
    for other, how in service.get("depends_on", {}).items():
        expect(f"waits for {other} by health", how["condition"] in ("service_healthy", "service_completed_successfully"))

print(f"{len(services)} services")
if faults:
    sys.exit("FAILED:\n" + "\n".join(faults))
