"""Frequencies of the embedded sample, counted in the real file; no row is taken from it.

A table is a text "value:weight value:weight ...". Where there is a second table `..._LATE`, rows
move from the first table (start of the file) to the second (end of the file).
"""

STAYS = (
    "1:54745 2:10434 3:3328 4:1421 5:717 6:346 7:207 8:111 9:70 10:42 11:20 12:19 15:9 20:4"
    " 28:2 40:1"
)
RACE = "Caucasian:748 AfricanAmerican:189 ?:22 Hispanic:20 Other:15 Asian:6"
GENDER = "Female:53760 Male:46237 Unknown/Invalid:3"
# Age bands; AGE has their weights by position.
AGES = [f"[{low}-{low + 10})" for low in range(0, 100, 10)]
AGE = "0:161 1:691 2:1657 3:3775 4:9685 5:17256 6:22483 7:26068 8:17197 9:2793"
WEIGHT = (
    "?:96860 [75-100):1313 [50-75):881 [100-125):614 [125-150):142 [25-50):95 [0-25):47"
    " [150-175):34 [175-200):11 >200:3"
)
ADMISSION_TYPE = "1:530 3:185 2:182 6:60 5:40 8:3"
ADMISSION_TYPE_LATE = "1:535 3:186 2:180 6:40 5:55 7:1 4:1"
DISPOSITION = (
    "1:6020 3:1200 6:1080 18:620 2:210 22:60 11:160 5:130 25:150 4:80 7:60 23:10 14:20 8:10"
    " 10:1 9:2"
)
DISPOSITION_LATE = (
    "1:5820 3:1540 6:1440 18:120 2:210 22:330 11:165 5:105 25:50 4:80 7:62 23:70 13:80 14:54"
    " 28:28 15:12 24:10 17:3 16:2 19:2 27:1 12:1 20:1"
)
ADMISSION_SOURCE = "7:480 1:230 17:150 4:35 6:25 2:14 5:9 3:3 20:4 9:2 8:1 10:1"
ADMISSION_SOURCE_LATE = "7:670 1:290 17:15 4:28 6:20 2:8 5:8 3:1 9:1 22:1 11:1 25:1 13:1 14:1"
PAYER = "?:930 MC:45 HM:15 BC:6 SP:4"
PAYER_LATE = (
    "?:80 MC:460 HM:95 SP:80 BC:70 MD:55 CP:40 UN:38 CM:30 OG:16 PO:10 DM:9 CH:3 WC:2 OT:2"
    " MP:1 SI:1"
)
SPECIALTY = (
    "?:390 InternalMedicine:210 Emergency/Trauma:40 Family/GeneralPractice:95 Cardiology:70"
    " Surgery-General:45 Nephrology:15 Orthopedics:18 Orthopedics-Reconstructive:15"
    " Radiologist:12 Pulmonology:10 Psychiatry:14 Urology:10 ObstetricsandGynecology:10"
    " Pediatrics:6 Surgery-Neuro:8 Oncology:5"
)
SPECIALTY_LATE = (
    "?:690 InternalMedicine:60 Emergency/Trauma:110 Family/GeneralPractice:45 Cardiology:35"
    " Surgery-General:15 Nephrology:17 Orthopedics:9 Orthopedics-Reconstructive:9"
    " Radiologist:10 Pulmonology:7 Gastroenterology:8 Surgery-Vascular:8"
    " PhysicalMedicineandRehabilitation:7 Surgery-Cardiovascular/Thoracic:6 Endocrinology:2"
    " Hematology/Oncology:3 Neurology:2 Podiatry:2 Psychology:1 Hospitalist:1 Otolaryngology:1"
)
DAYS = "1:142 2:172 3:178 4:139 5:100 6:75 7:59 8:44 9:30 10:23 11:19 12:14 13:12 14:10"
PROCEDURES = "0:458 1:204 2:125 3:93 6:49 4:41 5:30"
DIAGNOSES = "9:300 5:170 8:110 7:130 6:130 4:90 3:45 2:20 1:5"
DIAGNOSES_LATE = "9:665 5:55 8:100 7:75 6:65 4:22 3:10 2:3 16:1 10:1 13:1"
DIAG_1 = (
    "428:686 414:658 786:402 410:361 486:351 427:277 491:228 715:215 682:204 434:203 780:202"
    " 996:197 276:189 38:169 250.8:168 599:160 584:152 V57:121 250.6:118 518:112 820:108"
    " 577:106 493:106 435:102 562:99 574:97 296:90 560:88 250.7:87 250.13:85 440:84 433:79"
    " 998:78 722:77 250.02:68 578:66 250.11:63 507:61 789:56 453:55 530:53 8:52 403:51 535:45"
    " 402:45 ?:2 153:30 162:28 218:12 233:4 278:25 401:22 571:20 648:10 719:18 824:30 E909:1"
    " V58:24"
)
DIAG_2 = (
    "276:675 428:666 250:607 427:504 401:374 496:331 599:329 403:282 414:265 411:257"
    " 250.02:207 707:200 585:187 584:165 491:155 250.01:152 285:152 780:149 425:143 682:143"
    " 486:138 518:136 424:107 413:104 250.6:90 493:88 305:70 786:64 280:61 998:57 410:55"
    " 511:52 785:52 38:48 996:45 272:42 571:41 197:41 V45:41 295:41 440:41 ?:36 577:40 162:40"
    " 560:39 788:39 E878:15 E849:4 V42:12"
)
DIAG_3 = (
    "250:1156 401:829 276:518 428:458 427:396 414:366 496:261 403:236 585:199 272:197 599:194"
    " ?:142 V45:139 250.02:137 707:136 780:133 285:120 425:114 250.6:108 424:106 584:96 305:92"
    " 250.01:92 682:89 518:85 41:73 493:69 278:68 530:63 786:58 491:57 486:57 244:54 V58:50"
    " 250.4:43 411:40 280:40 357:39 785:39 E932:8 E947:5"
)
GLUCOSE = "None:9475 Norm:255 >200:146 >300:124"
A1C = "None:8328 >8:807 Norm:490 >7:375"
INSULIN = "No:545 Steady:304 Up:55 Down:85"
INSULIN_LATE = "No:395 Steady:300 Up:157 Down:152"
# Parts in 100,000 of Steady, Up and Down; the rest is No. Other drugs are always No.
ORAL_DRUGS = {
    "metformin": (18028, 1048, 565),
    "repaglinide": (1360, 108, 44),
    "nateglinide": (656, 24, 11),
    "chlorpropamide": (78, 6, 1),
    "glimepiride": (4589, 321, 191),
    "acetohexamide": (1, 0, 0),
    "glipizide": (11159, 757, 550),
    "glyburide": (9113, 798, 554),
    "tolbutamide": (23, 0, 0),
    "pioglitazone": (6855, 230, 116),
    "rosiglitazone": (5994, 175, 85),
    "acarbose": (290, 10, 3),
    "miglitol": (30, 2, 5),
    "troglitazone": (3, 0, 0),
    "tolazamide": (37, 1, 0),
    "glyburide-metformin": (680, 8, 6),
    "glipizide-metformin": (13, 0, 0),
    "glimepiride-pioglitazone": (1, 0, 0),
    "metformin-rosiglitazone": (2, 0, 0),
    "metformin-pioglitazone": (1, 0, 0),
}
DEATH_OR_HOSPICE = ("11", "13", "14", "19", "20", "21")
# Log-odds that a stay is followed by another within 30 days, besides the patient's frailty.
DISPOSITION_EFFECT = {
    "22": 0.9,
    "5": 0.6,
    "2": 0.35,
    "3": 0.3,
    "28": 0.9,
    "15": 0.8,
    "4": 0.1,
    "6": 0.15,
}
DIAGNOSIS_EFFECT = {
    "428": 0.25,
    "434": 0.35,
    "820": 0.3,
    "V57": 0.35,
    "250.6": 0.2,
    "786": -0.3,
    "715": -0.3,
}
