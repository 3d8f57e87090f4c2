#!/usr/bin/env bash
# Sees to it that the tests find PostgreSQL and MariaDB servers, the ODBC drivers of both and of SQLite, Java for Spark,
# Chromium for JupyterLab, and systemd-analyze, which checks unit files without a running systemd.
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

has_mariadb() { # the server alone: Debian's package mariadb-server would make and start one as a service
  { command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ]; } && [ -f /usr/share/mysql/mysql_system_tables.sql ]
}

has_odbc() { # The driver manager
  command -v isql >/dev/null && command -v odbcinst >/dev/null
}

has_driver() { # NAME: registered under this name
  has_odbc && odbcinst -q -d -n "$1" >/dev/null 2>&1
}

has_kerberos() { # Microsoft's driver for SQL Server links to it
  "${PYTHON:-python3}" -c 'import ctypes; ctypes.CDLL("libgssapi_krb5.so.2")' 2>/dev/null
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
  has_mariadb || echo mariadb-server-core
  has_odbc || echo unixodbc
  has_kerberos || echo libgssapi-krb5-2
  has_driver "PostgreSQL Unicode" || echo odbc-postgresql
  has_driver "MariaDB Unicode" || echo odbc-mariadb
  has_driver SQLite3 || echo libsqliteodbc
  command -v systemd-analyze >/dev/null || echo systemd
  has_chromium || printf '%s\n' chromium fonts-dejavu-core
}

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

give_up() { # REASON
  echo "The tests need the servers of PostgreSQL and MariaDB, unixODBC with its drivers for both and for SQLite,"
  echo "Kerberos' libraries, Java 17, systemd-analyze, and Chromium."
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
