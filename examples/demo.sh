#!/usr/bin/env bash
# From real structures to a report, in minutes on two cores: the same commands that run on a cluster, in small.
set -euo pipefail
cd "$(dirname "$0")/.."

report=demo/report.html
if [ -f "$report" ]; then
    echo "All is done: open $PWD/$report (remove demo/ to start again)"
    exit 0
fi
mkdir -p demo

echo "== 1/4 structures -> dataset: PyMOL surfaces, 256^3 voxels, 25 virtual AFM views each, on two MPI ranks"
mpiexec -n 2 python -m mpi4py -m afmsim.build --structures examples/structures --store demo/dataset.zarr
python -m afmsim.preview --store demo/dataset.zarr --out demo/contact_sheet.png

echo "== 2/4 dataset -> model: Pix2Vox++/F on 64 x 64 pixels, trained for minutes where the paper trained for days"
python -m recon.train --store demo/dataset.zarr --run demo/runs/views_08 --views 8 --size F --input-size 64 \
    --epochs 51 --single-view-epochs 50 --batch-size 8 --repeats 3 --learning-rate-drop-epoch 40 --test-fraction 0

echo "== 3/4 model -> IoU at 1, 3, 5, 8 and 10 views, on complexes it was trained on and on others"
python -m recon.evaluate --run demo/runs/views_08 --views 1 3 5 8 10
cp demo/runs/views_08/iou_by_views.csv demo/iou_by_views.csv

echo "== 4/4 report"
python -m recon.report --runs demo/runs --sheet demo/contact_sheet.png --out "$report"
echo "Done: open $PWD/$report"
