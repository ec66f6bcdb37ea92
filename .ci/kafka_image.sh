#!/usr/bin/env bash
# Builds IMAGE, a local stand-in for apache/kafka where no image registry can be reached: the same
# Kafka from Maven Central on a small Debian with Java, taking the same KAFKA_... variables, because
# Kafka's own KafkaDockerWrapper reads them. Needs root, debootstrap, mvn and a Docker engine.
#
#   .ci/kafka_image.sh IMAGE
set -euo pipefail
image=$1
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# The mirror that this machine is configured for.
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$suite" '$2 == suite && $3 == "main" { print $1; exit }')

echo "building $image, a stand-in for apache/kafka (two minutes)"
debootstrap --variant=minbase --include=openjdk-17-jre-headless "$suite" "$root" "$mirror" \
    > "$work/debootstrap.log" || { tail -20 "$work/debootstrap.log"; exit 1; }
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}

mvn --batch-mode --quiet --file="$here/deploy/kafka/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$root/opt/kafka/libs"

# Folders, user and default settings as in the official image.
mkdir -p "$root"/opt/kafka/config "$root"/etc/kafka/{docker,secrets} "$root"/mnt/shared/config \
    "$root"/var/lib/kafka/data
cp "$here/deploy/kafka/log4j2.yaml" "$root/etc/kafka/docker/log4j2.yaml"
cat > "$root/etc/kafka/docker/run" <<'RUN'
#!/usr/bin/env bash
# KAFKA_... variables become /opt/kafka/config; the storage is formatted unless it already is.
set -euo pipefail
kafka() { exec java ${KAFKA_HEAP_OPTS:--Xmx1G} \
    -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.yaml -cp '/opt/kafka/libs/*' "$@"; }
result=$(kafka kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \
    --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config 2>&1) ||
    [[ $result == *"already formatted"* ]] || { echo "$result"; exit 1; }
kafka kafka.Kafka /opt/kafka/config/server.properties
RUN
chmod 755 "$root/etc/kafka/docker/run"
chroot "$root" useradd --create-home --uid 1000 appuser
chroot "$root" chown -R appuser /opt/kafka /etc/kafka /mnt/shared/config /var/lib/kafka

tar --create --directory="$root" . | docker import \
    --change 'ENV CLUSTER_ID=5L6g3nShT-eMCtK--X86sw' \
    --change 'EXPOSE 9092' \
    --change 'USER appuser' \
    --change 'VOLUME ["/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"]' \
    --change 'CMD ["/etc/kafka/docker/run"]' \
    - "$image"
