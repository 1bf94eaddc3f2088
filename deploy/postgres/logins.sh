# Run by Postgres' image when the data folder is new: a login for each role of deploy/grants.sql.
# `agentsd migrate --grants` gives them their privileges.
for login in watch serve; do
    role=agentsd_sync
    [ "$login" = serve ] && role=agentsd_runtime
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
        --set login="$login" --set role="$role" --set password="$(cat "${SECRETS:-/run/secrets}/$login.password")" << 'SQL'
CREATE ROLE :"role";
CREATE ROLE :"login" LOGIN PASSWORD :'password' IN ROLE :"role";
SQL
done
