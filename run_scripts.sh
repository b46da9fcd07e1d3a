#!/bin/sh
# Reproduce the results:  sh run_scripts.sh [quickstart | tables | figures | all]
#
#   quickstart  restores a small set made on the spot, no download needed (about a minute)
#   tables      every table of the paper whose data and weights are in place
#   figures     fig/EV1.png and fig/EV2.png from the results of `tables`
#   all         the three of them
# Without an argument: quickstart and tables.
set -eu
cd "$(dirname "$0")"

if [ $# -gt 1 ]; then
    echo "error: one part at a time: sh run_scripts.sh [quickstart | tables | figures | all]" >&2
    exit 1
fi
part=${1:-default}
case $part in
    default | quickstart | tables | figures | all) ;;
    *)
        echo "error: unknown part '$part'; valid are: quickstart, tables, figures, all" >&2
        exit 1
        ;;
esac

REQUIREMENTS=requirements.txt
. codes/scripts/environment.sh

case $part in
    default | quickstart | all) "$PYTHON" codes/test.py -opt options/test/quickstart.yml ;;
esac
case $part in
    default | tables | all) "$PYTHON" codes/scripts/run_tables.py ;;
esac
case $part in
    figures | all) "$PYTHON" codes/scripts/make_figures.py ;;
esac
