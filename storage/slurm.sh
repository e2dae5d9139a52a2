#!/bin/bash
# An array of workers: each task is one, and joins the study. Start the search itself (s2e search …
# --workers 1) once, anywhere; it makes the study and writes the result when the last trial is done.
#
#   export S2E_STORAGE=grpc://head:13000      # or postgresql+psycopg://…, with ~/.pgpass
#   sbatch --array=0-99 storage/slurm.sh STUDY
#
# A task that is preempted or runs out of time gets SIGTERM and hands its trials back; from their
# last checkpoint another one goes on, if the folder of the search lies on a shared file system.
#SBATCH --job-name=s2e
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120

set -eu
study=${1:?usage: sbatch --array=0-N storage/slurm.sh STUDY}
: "${S2E_STORAGE:?say where the study is, for example S2E_STORAGE=grpc://head:13000}"
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-4}
exec srun s2e worker --study "$study" --device auto --stack "${S2E_STACK:-16}" --quiet
