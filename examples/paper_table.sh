#!/usr/bin/env bash
# The paper's table in small, for a few CPU cores: on a GPU use `python -m recon.launch --views 3 5 8 10` instead.
#
#   STORE=all.zarr bash examples/paper_table.sh
#
# Size F on 64-pixel images. Single views of all training proteins first, since the merger of views is what costs most on
# a CPU; from these weights one network per number of views goes on with all its views, on 160 of the proteins. Two runs on
# few proteins show what memorising looks like, one in the frame of its view what a frame that can be seen brings, and two
# more whether that one gains by more proteins. Each run is scored with the number of views it was trained with.
set -euo pipefail

store=${STORE:?name the dataset: STORE=all.zarr bash $0}
runs=${RUNS:-runs}
common=(--store "$store" --size F --input-size 64 --test-fraction 0.2 --stage "$runs/staged")
all_views=(--train-proteins 160 --epochs 1 --batch-size 8 --learning-rate 5e-4 --repeats 1)

train_and_score() { # name, views, settings
    local run=$runs/$1 views=$2
    python -m recon.train --run "$run" --views "$views" "${common[@]}" "${@:3}"
    [ -e "$run/iou_by_views.csv" ] || python -m recon.evaluate --run "$run" --views "$views"
}

train_and_score single_1504 1 --epochs 24 --single-view-epochs 24 --learning-rate-drop-epoch 18 --batch-size 16 \
    --repeats 1
for views in 3 5 8 10; do
    train_and_score "$(printf 'views_%02d' "$views")" "$views" --start-from "$runs/single_1504" "${all_views[@]}"
done
for proteins in 30 120; do
    train_and_score "$(printf 'single_%04d' "$proteins")" 1 --train-proteins "$proteins" --epochs 10 \
        --single-view-epochs 10 --learning-rate-drop-epoch 7 --batch-size 16 --repeats $((960 / proteins))
done
train_and_score view_frame_01 1 --frame view --epochs 8 --single-view-epochs 8 --learning-rate-drop-epoch 6 \
    --batch-size 16 --repeats 1
for proteins in 120 480; do
    train_and_score "$(printf 'view_frame_%04d' "$proteins")" 1 --frame view --train-proteins "$proteins" --epochs 8 \
        --single-view-epochs 8 --learning-rate-drop-epoch 6 --batch-size 16 --repeats $((1440 / proteins))
done
python -m recon.report --runs "$runs" --out "$runs/report.html"
