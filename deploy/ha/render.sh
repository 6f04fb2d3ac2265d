#!/bin/sh
# Write the files of one host: sh render.sh SITE.env NAME FOLDER     (NAME: db1, db2, db3, app1 or app2)
set -eu
umask 077
here=$(dirname "$0")
site=$1 name=$2 folder=$3
mkdir -p "$folder"

. "$site"
case $name in
  db1) address=$DB1 ;;
  db2) address=$DB2 ;;
  db3) address=$DB3 ;;
  app1) address=$APP1 node=1 port=$APP1_PORT ;;
  app2) address=$APP2 node=2 port=$APP2_PORT ;;
  *) echo "render.sh: no host is called $name" >&2; exit 2 ;;
esac

# One sed line a setting; the name and the address come last, because settings may hold @NAME@.
lines=$(sed -n 's/^\([A-Z0-9_]*\)=\(.*\)$/s|@\1@|\2|g/p' "$site")
for file in "$here"/*.yml "$here"/*.cfg "$here"/*.toml "$here"/*.sql; do
  sed -e "$lines" -e "s|@NAME@|$name|g" -e "s|@ADDRESS@|$address|g" -e "s|@NODE@|${node:-0}|g" \
    -e "s|@PORT@|${port:-0}|g" "$file" \
    > "$folder/$(basename "$file")"
done
