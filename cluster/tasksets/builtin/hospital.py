"""A hospital group: wards, doctors, patients, admissions, laboratory results and invoices."""

import random
from datetime import date

from cluster.tasksets.builtin import mess, words
from cluster.tasksets.builtin.domain import Column, Domain, QuestionSpec, TableData, table_of

_SPECIALTIES = ("Cardiology", "Oncology", "Pediatrics", "Neurology", "Orthopedics", "Surgery", "Psychiatry")
_REASONS = ("Fracture", "Infection", "Chest pain", "Check-up", "Fainting", "Allergy")
_TESTS = ("Glucose", "Sodium", "Creatinine", "Calcium", "Iron")

QUESTIONS = (
    QuestionSpec("How many patients are there?", "SELECT COUNT(*) FROM patients", "integer", "easy"),
    QuestionSpec(
        "What is the average billed amount of invoices?", "SELECT AVG(billed_amount) FROM invoices", "float", "easy"
    ),
    QuestionSpec(
        "How many admissions have no discharge date?",
        "SELECT COUNT(*) FROM admissions WHERE discharge_date IS NULL",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "List the names of wards with more than 40 beds.", "SELECT name FROM wards WHERE beds > 40", "list", "easy"
    ),
    QuestionSpec(
        "What is the full name of the oldest patient, the one with the earliest birth date? "
        "Break ties alphabetically by full name.",
        "SELECT full_name FROM patients ORDER BY birth_date, full_name LIMIT 1",
        "string",
        "easy",
    ),
    QuestionSpec(
        "How many doctors have the specialty cardiology, ignoring case and surrounding spaces?",
        "SELECT COUNT(*) FROM doctors WHERE LOWER(TRIM(specialty)) = 'cardiology'",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "Show the name and the number of beds of the wards on floor 3.",
        "SELECT name, beds FROM wards WHERE floor = 3",
        "table",
        "easy",
    ),
    QuestionSpec(
        "How many patients are there of each blood type? Show the blood type and the number of patients, "
        "leaving out patients without a blood type.",
        "SELECT blood_type, COUNT(*) AS patients FROM patients WHERE blood_type IS NOT NULL GROUP BY blood_type",
        "table",
        "medium",
    ),
    QuestionSpec(
        "Which doctor has the most admissions? Give the full name; break ties alphabetically by full name.",
        "SELECT d.full_name FROM doctors d JOIN admissions a ON a.doctor_id = d.doctor_id "
        "GROUP BY d.doctor_id, d.full_name ORDER BY COUNT(*) DESC, d.full_name LIMIT 1",
        "string",
        "medium",
    ),
    QuestionSpec(
        "How many different patients who are registered in the patients table have been admitted to a neurology ward, "
        "counting each patient once?",
        "SELECT COUNT(DISTINCT p.patient_id) FROM patients p JOIN admissions a ON a.patient_id = p.patient_id "
        "JOIN wards w ON w.ward_id = a.ward_id WHERE w.specialty = 'Neurology'",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "What is the average length of stay, in days from admit date to discharge date, of the admissions to surgery "
        "wards? Leave out admissions without a discharge date.",
        "SELECT AVG(DATE_DIFF('day', CAST(a.admit_date AS DATE), CAST(a.discharge_date AS DATE))) FROM admissions a "
        "JOIN wards w ON w.ward_id = a.ward_id WHERE w.specialty = 'Surgery' AND a.discharge_date IS NOT NULL",
        "float",
        "medium",
    ),
    QuestionSpec(
        "List the full names of the doctors who have never been in charge of an admission.",
        "SELECT d.full_name FROM doctors d WHERE NOT EXISTS "
        "(SELECT 1 FROM admissions a WHERE a.doctor_id = d.doctor_id)",
        "list",
        "medium",
    ),
    QuestionSpec(
        "How many admissions refer to a patient id that is missing from the patients table?",
        "SELECT COUNT(*) FROM admissions a WHERE NOT EXISTS "
        "(SELECT 1 FROM patients p WHERE p.patient_id = a.patient_id)",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "What is the average glucose result of female patients (gender F)? Ignore case and surrounding spaces in the "
        "test name, use every recorded row, and leave out results that are not numbers, as results are stored as text.",
        "SELECT AVG(TRY_CAST(r.result_value AS DECIMAL(10, 2))) FROM lab_results r "
        "JOIN patients p ON p.patient_id = r.patient_id "
        "WHERE LOWER(TRIM(r.test_name)) = 'glucose' AND p.gender = 'F'",
        "float",
        "medium",
    ),
    QuestionSpec(
        "How many different patient ids have an admission that began between 1 and 30 days after the discharge date "
        "of another of their admissions?",
        "SELECT COUNT(DISTINCT later.patient_id) FROM admissions earlier "
        "JOIN admissions later ON later.patient_id = earlier.patient_id "
        "WHERE DATE_DIFF('day', CAST(earlier.discharge_date AS DATE), CAST(later.admit_date AS DATE)) BETWEEN 1 AND 30",
        "integer",
        "hard",
    ),
    QuestionSpec(
        "Among the wards with more than five invoices, which has the highest average unpaid amount per invoice? Unpaid "
        "is the billed amount minus the paid amount, a missing paid amount being nothing paid; invoices belong to the "
        "ward of their admission. Give the name of the ward; break ties alphabetically by name.",
        "SELECT w.name FROM invoices i JOIN admissions a ON a.admission_id = i.admission_id "
        "JOIN wards w ON w.ward_id = a.ward_id GROUP BY w.ward_id, w.name HAVING COUNT(*) > 5 "
        "ORDER BY AVG(i.billed_amount - COALESCE(i.paid_amount, 0)) DESC, w.name LIMIT 1",
        "string",
        "hard",
    ),
    QuestionSpec(
        "For each ward specialty, which ward has had the most admissions? Show the specialty and the name of the ward; "
        "where wards tie, take the first alphabetically by name.",
        "WITH counted AS (SELECT w.specialty, w.name, COUNT(*) AS admissions FROM wards w "
        "JOIN admissions a ON a.ward_id = w.ward_id GROUP BY w.ward_id, w.specialty, w.name) "
        "SELECT specialty, name FROM counted "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY specialty ORDER BY admissions DESC, name) = 1",
        "table",
        "hard",
    ),
)


def _wards(rng: random.Random) -> TableData:
    names = words.pairs(rng, _SPECIALTIES, ("East", "West", "North", "South", "Central", "Annex"), rng.randint(35, 40))
    size = len(names)
    return table_of(
        "wards",
        (
            Column("ward_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", names),
            Column("short_name", "VARCHAR", [name[:4].upper() for name in names]),
            Column("specialty", "VARCHAR", [name.split()[0] for name in names]),
            Column("floor", "INTEGER", mess.spread(rng, range(1, 7), size)),
            Column("beds", "INTEGER", mess.spread(rng, range(10, 51, 4), size)),
        ),
        primary_key=("ward_id",),
    )


def _doctors(rng: random.Random, wards: int) -> TableData:
    names = words.people(rng, rng.randint(52, 66))
    size = len(names)
    posts = mess.orphaned(rng, mess.skewed(rng, range(1, wards + 1), size), range(80, 85), 0.06)
    return table_of(
        "doctors",
        (
            Column("doctor_id", "INTEGER", range(301, size + 301)),
            Column("full_name", "VARCHAR", names),
            Column("display_name", "VARCHAR", [f"Dr. {name.split()[1]}" for name in names]),
            Column("specialty", "VARCHAR", mess.recased(rng, mess.skewed(rng, _SPECIALTIES * 4, size))),
            Column("ward_id", "INTEGER", posts),
            Column("hired_on", "VARCHAR", mess.iso_dates(rng, date(1995, 1, 1), date(2023, 12, 31), size)),
        ),
        primary_key=("doctor_id",),
        foreign_keys=(("ward_id", "wards", "ward_id"),),
    )


def _patients(rng: random.Random) -> TableData:
    size = rng.randint(180, 230)
    blood = mess.skewed(rng, ("A+", "A-", "B+", "B-", "AB+", "AB-", "O+", "O-") * 3, size)
    return table_of(
        "patients",
        (
            Column("patient_id", "INTEGER", range(2001, size + 2001)),
            Column("full_name", "VARCHAR", words.people(rng, size)),
            Column("gender", "VARCHAR", mess.blanked(rng, mess.spread(rng, ("F", "M"), size), 0.04)),
            Column("birth_date", "VARCHAR", mess.iso_dates(rng, date(1930, 1, 1), date(2020, 12, 31), size)),
            Column("city", "VARCHAR", mess.blanked(rng, mess.skewed(rng, words.towns(rng, 9), size), 0.05)),
            Column("blood_type", "VARCHAR", mess.blanked(rng, blood, 0.15)),
        ),
        primary_key=("patient_id",),
    )


def _admissions(rng: random.Random, patients: int, doctors: int, wards: int) -> TableData:
    size = rng.randint(370, 430)
    dates = mess.iso_dates(rng, date(2023, 1, 1), date(2024, 11, 30), size)
    left = mess.days_after(rng, dates, 1, 24)
    staff = range(301, doctors + 301)
    in_charge = mess.skewed(rng, mess.without(staff, rng.sample(staff, rng.randint(5, 8))), size)
    stays = mess.orphaned(
        rng, mess.skewed(rng, range(2001, patients + 2001), size), range(9501, 9520), rng.uniform(0.03, 0.1)
    )
    return table_of(
        "admissions",
        (
            Column("admission_id", "INTEGER", range(10001, size + 10001)),
            Column("patient_id", "INTEGER", stays),
            Column("doctor_id", "INTEGER", mess.blanked(rng, in_charge, 0.05)),
            Column("ward_id", "INTEGER", mess.skewed(rng, range(1, wards + 1), size)),
            Column("admit_date", "VARCHAR", dates),
            Column("discharge_date", "VARCHAR", mess.blanked(rng, left, rng.uniform(0.08, 0.2))),
            Column("reason", "VARCHAR", mess.recased(rng, mess.spread(rng, _REASONS, size))),
        ),
        primary_key=("admission_id",),
        foreign_keys=(
            ("patient_id", "patients", "patient_id"),
            ("doctor_id", "doctors", "doctor_id"),
            ("ward_id", "wards", "ward_id"),
        ),
    )


def _lab_results(rng: random.Random, patients: int) -> TableData:
    size = rng.randint(470, 530)
    taken = mess.iso_dates(rng, date(2023, 1, 1), date(2024, 12, 31), size)
    results = table_of(
        "lab_results",
        (
            Column("patient_id", "INTEGER", mess.skewed(rng, range(2001, patients + 2001), size)),
            Column("test_name", "VARCHAR", mess.recased(rng, mess.spread(rng, _TESTS, size))),
            Column("result_value", "VARCHAR", mess.as_text(rng, mess.money(rng, 40, 260, size))),
            Column("unit", "VARCHAR", mess.blanked(rng, ["mg/dL"] * size, 0.2)),
            Column("taken_on", "VARCHAR", mess.mixed_formats(rng, taken)),
        ),
        foreign_keys=(("patient_id", "patients", "patient_id"),),
    )
    return mess.repeated(rng, results, 0.08)


def _invoices(rng: random.Random, admissions: int) -> TableData:
    size = rng.randint(290, 350)
    billed = mess.money(rng, 200, 9000, size)
    paid = mess.scaled(rng, billed, 0.1, 0.9)
    return table_of(
        "invoices",
        (
            Column("invoice_id", "INTEGER", range(70001, size + 70001)),
            Column("admission_id", "INTEGER", rng.choices(range(10001, admissions + 10021), k=size)),
            Column("billed_amount", "DECIMAL(10,2)", billed),
            Column("approved_amount", "DECIMAL(10,2)", mess.scaled(rng, billed, 0.7, 0.98)),
            Column("paid_amount", "DECIMAL(10,2)", mess.blanked(rng, paid, 0.25)),
        ),
        primary_key=("invoice_id",),
        foreign_keys=(("admission_id", "admissions", "admission_id"),),
    )


def build(rng: random.Random) -> Domain:
    """The hospital group; the same generator state gives the same hospitals."""
    wards = _wards(rng)
    doctors = _doctors(rng, len(wards.rows))
    patients = _patients(rng)
    admissions = _admissions(rng, len(patients.rows), len(doctors.rows), len(wards.rows))
    results = _lab_results(rng, len(patients.rows))
    invoices = _invoices(rng, len(admissions.rows))
    return Domain("hospital", (wards, doctors, patients, admissions, results, invoices), QUESTIONS)
