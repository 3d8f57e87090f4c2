#!/bin/sh
# The loads of daily.yaml. Written by `hwm export` of hwm-magics VERSION.
# HWM names the command where it is not on the PATH; daily_sales.env beside this file, if it is there, sets variables:
# ERP_PASSWORD, HWM_SECRET_VAULT_PW.
set -eu
cd "$(dirname "$0")"
if [ -f ./daily_sales.env ]; then
    set -a
    . ./daily_sales.env
    set +a
fi
# exec: a signal reaches the load itself, which then stops before its commit or finishes it.
exec "${HWM:-hwm}" run daily_sales.yaml -p first_id=7 -p limit=1000 -p since=2024-01-01 -p strict=true "$@"
