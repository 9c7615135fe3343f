"""The leakage audit: the same scan in two entries, or on both sides of a split, by its content.

A scan gets two small fingerprints, made once and kept beside the run:

- the voxel sketch (`sketch`) proves that voxels were copied, whatever the header says; it
  survives flips, crops, other file formats and increasing intensity maps, but no interpolation;
- keypoints (`keypoints`) survive re-sampling, noise, small rotations and windowing as well, but
  need the true spacing and 35 to 40 mm of common tissue.

All fingerprints are compared by index (`matching`); the few candidates are aligned and compared
place by place (`alignment`), and `findings` says what that means:

- `copied voxels`: at least 10 shared hashes;
- `same scan`: at least 4 keypoints agree, local correlation 0.9 or more over 30 % of the smaller
  scan or more, and 0.92 or more in nine of ten blocks;
- `same scan or same patient`: the same with a correlation of 0.7 or more anywhere. Both kinds
  must stay on one side of a split;
- `candidate, rejected`: 4 votes or 7 shared hashes, but none of these. It does not count.

Scans of one patient of one entry (frames, phases, sequences) are known to belong together: they
are not compared and have a row only if they are on both sides.

Error rates, accepted / tried. Hippocampus: re-uses of 60 real MR crops of 35 x 50 x 35 mm, hidden
among 260 such crops and 2 CT scans (`make bench-audit`, `--sources 60 --data FOLDER ...`).
Virtual: 6 of 16 virtual torsos and pelves (`--patients 16 --sources 6`).

====================================================  ===========  =======
re-use                                                hippocampus  virtual
====================================================  ===========  =======
flip + permutation, gamma, window, z-score, 8 bits    300 / 300    30 / 30
resampled to 2 mm, to 1.4 x voxels                    120 / 120    12 / 12
resampled to 1 x 1 x 3 mm                              40 / 60      6 / 6
cropped to 75 %, to 50 % per axis, half the slices    180 / 180    18 / 18
rotated by 5 degrees, noise of 3 %                    120 / 120    12 / 12
spacing lost                                           60 / 60      6 / 6
turned, cropped to 75 %, 1.4 x voxels, 8 bits          47 / 60      6 / 6
turned, cropped to 50 %, window, 1 x 1 x 3 mm, 8 bits   0 / 60      4 / 6
====================================================  ===========  =======

Different patients: of 284,751 pairs (originals and re-uses, hippocampus) none had 4 votes or 7
shared hashes; of 1,560 virtual pairs, whose anatomy comes from one recipe, 125 reached the check
and none was accepted.

CT of the trunk: three patients were at hand (CHAOS, TotalSegmentator, MSD Spleen). Pieces of them
of 65 to 190 mm that share no tissue, 331 pairs and 1,152 with re-uses, had 3 votes at most. Of 55
pairs of those scans and virtual torsos on grids of 0.8 to 1.6 mm, 11, all of torsos, reached the
check with 4 to 9 votes and correlations up to 0.49; none was accepted. The rate among the
abdominal CT of many patients, the bulk of the collection, is still not measured: `summary.json`
beside the fingerprints holds the votes of all rejected candidates of a run, from which its own
rate can be read.

Thresholds and rates come from the same scans, and the pairs are not independent: take them as
starting values.

Not found: other sequences of one patient, the other half of a brain, non-rigid warps, synthetic
images, resampled pieces under 35 to 40 mm. Scans with too few marks are listed as hard to find.
"No finding" never means "no overlap".
"""
