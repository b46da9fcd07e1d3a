#!/bin/sh
# Reproduce the results:  sh run_scripts.sh [quickstart | tables | figures | robustness | ablation | all] [--quick]
#
#   quickstart  restores a small set that is made without a download (about a minute)
#   tables      measures every table of the paper whose data and weights are there, and writes its report
#   figures     draws the pictures of fig/ from the results of `tables` and the weights in Models/
#   robustness  measures PSNR against noise, wrong kernels and borders
#   ablation    trains the same network with different solvers and compares them (hours on a CPU)
#   all         does all of this
# Without an argument: quickstart and tables. Interrupted parts continue where they stopped.
# --quick does the same on a few images and steps, in results/quick and fig/quick.
set -eu
cd "$(dirname "$0")"

part=default quick=
for word in "$@"; do
    case $word in
        --quick) quick=--quick ;;
        quickstart | tables | figures | robustness | ablation | all)
            if [ $part != default ]; then
                echo "error: one part at a time: sh run_scripts.sh $part, then sh run_scripts.sh $word" >&2
                exit 1
            fi
            part=$word
            ;;
        *)
            echo "error: unknown part '$word'; valid are:" \
                "quickstart, tables, figures, robustness, ablation, all, and --quick" >&2
            exit 1
            ;;
    esac
done

REQUIREMENTS=requirements.txt
. codes/scripts/environment.sh

case $part in
    default | quickstart | all) "$PYTHON" codes/test.py -opt options/test/quickstart.yml ;;
esac
case $part in
    default | tables | all) "$PYTHON" codes/scripts/run_tables.py $quick ;;
esac
case $part in
    robustness | all) "$PYTHON" studies/robustness.py $quick ;;
esac
case $part in
    ablation | all) "$PYTHON" studies/ablation.py $quick ;;
esac
case $part in
    figures | all) "$PYTHON" studies/make_figures.py $quick ;;
esac
