"""Every word on the screen, in Korean and in English."""

from __future__ import annotations

from typing import Final

import streamlit as st

from core.errors import Language
from core.web.language import preferred

WORDS: Final[dict[Language, dict[str, str]]] = {
    "ko": {
        "health.title": "연동 상태",
        "nav.monitor": "모니터링",
        "frame.sign_out": "로그아웃",
        "frame.zone": "시간대 {zone}",
        "frame.updated": "{time} 기준",
        "role.viewer": "조회자",
        "role.operator": "운영자",
        "role.admin": "관리자",
        "banner.mock": "모의 응답 중: {names}. 이 연동들은 실제로 호출되지 않습니다.",
        "banner.demo": "데모 트래픽이 켜져 있습니다. 화면의 호출 수치에 만들어진 호출이 섞여 있습니다.",
        "banner.circuit": "차단기가 열렸습니다: {names}. 이 제공자들로는 호출이 나가지 않습니다.",
        "status.healthy": "정상",
        "status.degraded": "저하",
        "status.unhealthy": "장애",
        "status.unknown": "미확인",
        "status.off": "꺼짐",
        "status.mock": "모의",
        "circuit.closed": "닫힘",
        "circuit.open": "열림",
        "circuit.half_open": "시험 중",
        "circuit.label": "차단기",
        "circuit.retry": "{seconds}초 뒤 재시도",
        "circuit.failures": "연속 실패 {count}회",
        "summary": "{total}개 연동 중 {healthy}개 정상",
        "summary.all_well": "모두 정상입니다",
        "summary.some_ill": "주의가 필요한 연동이 있습니다",
        "summary.unchecked": "점검을 기다리는 연동이 있습니다",
        "metric.success": "성공률",
        "metric.p95": "응답 p95",
        "metric.cache": "캐시 적중률",
        "metric.calls": "호출 수",
        "metric.window": "최근 1시간 기준",
        "metric.none": "–",
        "check.last": "마지막 점검 {time}",
        "check.never": "아직 점검한 적이 없습니다. '지금 점검'을 누르거나 5분 안에 있을 정기 점검을 기다려 주세요.",
        "check.never_viewer": "아직 점검한 적이 없습니다. 5분 안에 정기 점검이 있습니다.",
        "check.now": "지금 점검",
        "check.done": "{title}: {status}",
        "check.refused": "점검하지 못했습니다. 데이터베이스가 응답하지 않거나 권한이 없습니다.",
        "check.failing": "연속 실패 {count}회 · 24시간 내 실패 {day}회",
        "minute.strip": "최근 {count}분의 분당 호출, 오른쪽이 최신",
        "minute.label": "{time} · 호출 {total}건, 실패 {failed}건",
        "minute.answered": "응답",
        "minute.failed": "실패",
        "minute.mean": "평균 응답 시간",
        "details.title": "자세히",
        "history.title": "점검 기록",
        "history.strip": "최근 점검 {count}회, 오른쪽이 최신",
        "history.time": "시각 ({zone})",
        "history.status": "상태",
        "history.circuit": "차단기",
        "history.duration": "소요 (ms)",
        "history.message": "내용",
        "integration.address": "주소 검색",
        "empty.title": "등록된 연동이 없습니다",
        "empty.body": "주소 검색 연동의 키를 환경 변수로 설정하거나 모의 모드를 켠 뒤 Bongsu를 다시 시작해 주세요.",
        "error.storage": "데이터베이스가 응답하지 않습니다",
        "error.storage_body": "잠시 후 다시 시도해 주세요. 계속되면 데이터베이스와 BONGSU_DATABASE_URL을 확인해 주세요.",
        "error.unexpected": "문제가 발생했습니다",
        "error.unexpected_body": "다시 시도해 주세요. 자세한 내용은 서버 로그에 있습니다.",
        "error.retry": "다시 시도",
    },
    "en": {
        "health.title": "Integration health",
        "nav.monitor": "Monitor",
        "frame.sign_out": "Sign out",
        "frame.zone": "Time zone {zone}",
        "frame.updated": "As of {time}",
        "role.viewer": "Viewer",
        "role.operator": "Operator",
        "role.admin": "Administrator",
        "banner.mock": "Mock answers for: {names}. These integrations are not really called.",
        "banner.demo": "Demo traffic is on. The calls counted here include made-up ones.",
        "banner.circuit": "Open circuit breaker: {names}. No call leaves for these providers.",
        "status.healthy": "Healthy",
        "status.degraded": "Degraded",
        "status.unhealthy": "Down",
        "status.unknown": "Unknown",
        "status.off": "Off",
        "status.mock": "Mock",
        "circuit.closed": "Closed",
        "circuit.open": "Open",
        "circuit.half_open": "Probing",
        "circuit.label": "Circuit breaker",
        "circuit.retry": "tries again in {seconds} s",
        "circuit.failures": "{count} failures in a row",
        "summary": "{healthy} of {total} integrations healthy",
        "summary.all_well": "All is well",
        "summary.some_ill": "Something needs attention",
        "summary.unchecked": "Some integrations wait for their first check",
        "metric.success": "Success rate",
        "metric.p95": "Response p95",
        "metric.cache": "Cache hit rate",
        "metric.calls": "Calls",
        "metric.window": "Last hour",
        "metric.none": "–",
        "check.last": "Last check {time}",
        "check.never": "Never checked yet. Press “Check now”, or wait up to five minutes for the regular check.",
        "check.never_viewer": "Never checked yet. The regular check comes within five minutes.",
        "check.now": "Check now",
        "check.done": "{title}: {status}",
        "check.refused": "Not checked: the database does not answer, or your role does not allow it.",
        "check.failing": "{count} failures in a row · {day} in 24 hours",
        "minute.strip": "Calls of each of the latest {count} minutes, the newest on the right",
        "minute.label": "{time} · {total} calls, {failed} failed",
        "minute.answered": "Answered",
        "minute.failed": "Failed",
        "minute.mean": "Average response",
        "details.title": "Details",
        "history.title": "Check history",
        "history.strip": "The latest {count} checks, the newest on the right",
        "history.time": "Time ({zone})",
        "history.status": "Status",
        "history.circuit": "Circuit breaker",
        "history.duration": "Took (ms)",
        "history.message": "Message",
        "integration.address": "Address search",
        "empty.title": "No integration is registered",
        "empty.body": "Set the keys of the address search in the environment, or switch its mock mode on, then start Bongsu again.",
        "error.storage": "The database does not answer",
        "error.storage_body": "Try again in a moment. If it stays so, check the database and BONGSU_DATABASE_URL.",
        "error.unexpected": "Something went wrong",
        "error.unexpected_body": "Please try again. The server log has the details.",
        "error.retry": "Retry",
    },
}


def language() -> Language:
    """The language of the browser that looks at the page."""
    return preferred(st.context.locale or "")


def t(key: str, **values: object) -> str:
    """The words for a key, with its values filled in."""
    return WORDS[language()][key].format(**values)


def title_of(name: str, title: str) -> str:
    """What an integration is called in the language of the screen; its own title when it has no word here."""
    return WORDS[language()].get(f"integration.{name}", title)
