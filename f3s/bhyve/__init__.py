"""Moves vm-bhyve's datasets below an encrypted parent: finds the next steps from facts alone.

`plan.py` has the order of the steps, and each of them is told where it is made: `retire.py` until D is renamed,
`rebuild.py` from then on, with the streams in `copying.py`; `afterwards.py` for what follows.

D is the dataset (`zroot/bhyve`), O the old tree (`zroot/bhyve_old`), S the migration snapshot. Each row is a state
that the facts show; what leaves it is one command, so a run that is killed is in one of these rows:

| state, found by                                         | step that leaves it                                    |
|---------------------------------------------------------|--------------------------------------------------------|
| D plain, no mark                                        | record: bare mount point `schg`, mark on D with S,     |
|                                                         | mount point, running VMs                               |
| D marked `started`, VMs run or have locks               | stop: ACPI shutdown, bounded wait, stale locks removed |
| VMs stopped, a dataset of D could be mounted or written | retire: canmount=noauto, readonly=on, old values noted |
| all retired, some mounted                               | unmount                                                |
| D marked, retired, not mounted                          | rename: D becomes O, the marks go with it              |
| O marked `started`, its mount point still D's           | move away: mount point of O                            |
| O without S                                             | snapshot, recursive                                    |
| O with S, written to since, D not `verified`            | again: another name for S, which O is without          |
| O with S, no D                                          | parent: bare mount point `schg`, then encrypted D,     |
|                                                         | marked `copying` as it is made                         |
| D `copying`, key not loaded or not mounted (a reboot)   | key: loaded, D mounted                                 |
| a child of O without counterpart, or that one has fewer | copy: full stream of the oldest snapshot, then one     |
| snapshots, a resume token or other settings             | increment a snapshot, then the settings                |
| D without the GUID of O@S                               | metadata: O mounted read-only, files copied and        |
|                                                         | compared, O unmounted, GUID noted on D                 |
| all of that done, D `copying`                           | verify: all proofs, D marked `verified`                |
| D `verified`, a child not mounted as it was             | activate: canmount as before, mount                    |
| D `verified`, all mounted, O `started`                  | start: vm init, VMs that ran; then O marked `done`     |
| O `done` or `destroying`                                | none; with the explicit switch: destroy                |
| O `done` or destroyed, D not open                       | those of afterwards.py                                 |

Why this is safe:
- A mark is a ZFS user property local to the dataset, set in the same command as the change that it tells of.
- The old tree is unmounted with canmount=noauto everywhere before it gives up its name, so that a reboot at any point
  mounts no two datasets at one place. Nothing is mounted at D's mount point until D is encrypted, and the bare
  directory there takes no writes from before D is made: a boot without the key puts no plain text into it.
- Copies are streams of one dataset and one snapshot each, without properties (no -p, no -R): they resume one by one,
  cannot carry encryption=off (observed: -R does), and bring no mount point along. Settings local to the source go with
  the first stream as -o, and are set from facts after the copy, since a resumed stream has none.
- What changed in O after S is copied by one more snapshot, whatever it is. After a power cut the import marks the
  intent log of a dataset (zil.c: zil_claim), which shows as 1024 bytes written; its stream is empty (observed), and ZFS
  does not take it for a change (dsl_dataset.c: dsl_dataset_modified_since_snap).
- Copied are every file system and volume below D with all of their snapshots up to S. Of D itself the files are copied;
  its own older snapshots stay in O. A clone becomes a full copy: its data is kept, the shared space is not.
- Encryption is decided when a dataset is made: `-x encryption` goes with the first stream, an existing target keeps
  what it has, and a target with another encryption root than D stops everything.

Sources: zfs-send(8), zfs-receive(8), zfsprops(7) of OpenZFS 2.1; vm-bhyve lib/vm-core, lib/vm-zfs; observations.
"""
