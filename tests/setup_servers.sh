#!/usr/bin/env bash
# Sees to it that the tests find a PostgreSQL server, the ODBC drivers of PostgreSQL and SQLite, Java for Spark,
# and Chromium for the tests of the card.
# Installs what is missing where it may (root or password-free sudo, and apt-get); otherwise says what to
# install, and fails if CI=true. Starts nothing: the tests run a server of their own.
set -euo pipefail

has_postgres() {
  local dir
  for dir in "$(dirname "$(command -v initdb || echo /nowhere/initdb)")" /usr/lib/postgresql/*/bin; do
    if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && [ -x "$dir/pg_ctl" ]; then return 0; fi
  done
  return 1
}

has_odbc() { # The driver manager
  command -v isql >/dev/null && command -v odbcinst >/dev/null
}

has_driver() { # NAME: registered under this name
  has_odbc && odbcinst -q -d -n "$1" >/dev/null 2>&1
}

has_java() {
  java -version >/dev/null 2>&1 || [ -x "${JAVA_HOME:-/nowhere}/bin/java" ]
}

has_chromium() {
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

missing_packages() {
  has_java || echo openjdk-17-jre-headless
  has_postgres || echo postgresql
  has_odbc || echo unixodbc
  has_driver "PostgreSQL Unicode" || echo odbc-postgresql
  has_driver SQLite3 || echo libsqliteodbc
  has_chromium || printf '%s\n' chromium fonts-dejavu-core
}

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

give_up() { # REASON
  echo "The tests need PostgreSQL's server, unixODBC with its drivers for PostgreSQL and SQLite, Java 17, and Chromium."
  echo "$1"
  echo "On Debian and Ubuntu: apt-get install --no-install-recommends ${missing[*]}"
  if [ "${CI:-}" = true ]; then exit 1; fi
  echo "Tests that need them will be skipped."
  exit 0
}

if [ "$(id -u)" -eq 0 ]; then
  as_root=(env)
elif sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
else
  give_up "Installing them takes root or password-free sudo."
fi
command -v apt-get >/dev/null || give_up "There is no apt-get here to install them with."

# Debian's postgresql package makes and starts a cluster of its own, unless it is told not to.
no_cluster=/etc/postgresql-common/createcluster.d/hwm-magics-tests.conf
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  "${as_root[@]}" mkdir -p "$(dirname "$no_cluster")"
  echo "create_main_cluster = false" | "${as_root[@]}" tee "$no_cluster" >/dev/null
  trap '"${as_root[@]}" rm -f "$no_cluster"' EXIT
fi

echo "Installing ${missing[*]} for the tests"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}"

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ]; then
  give_up "They were installed, and still cannot be found."
fi
